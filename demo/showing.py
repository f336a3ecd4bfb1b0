# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shows the steps of the demo, their commands and what these print."""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BIN = Path(__file__).resolve().parent.parent / ".venv/bin"


def headline(text: str) -> None:
    """Print the next step."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}== {text}{plain}", flush=True)


def show(*argv: str | Path, env: Mapping[str, str] | None = None, status: int = 0) -> None:
    """Show a command and what it prints.

    Args:
        argv: The command.
        env: Its environment; None for this one.
        status: The exit status that it must have.
    """
    print(f"$ {shlex.join(str(part) for part in argv)}", flush=True)
    ended = subprocess.run(argv, env=env, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode != status:
        raise subprocess.CalledProcessError(ended.returncode, argv)


def show_short(*argv: str | Path, keep: tuple[str, ...] = ("",)) -> None:
    """Show a command and what it prints, with short digests and without directories.

    Args:
        argv: The command.
        keep: Only the lines that begin so.
    """
    print(f"$ {shorten(shlex.join(str(part) for part in argv))}")
    # On a terminal, virsh would start an agent that asks for passwords.
    printed = subprocess.run(
        argv, check=True, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    for line in printed.stdout.splitlines():
        if line.startswith(keep):
            print(shorten(line))


def shorten(line: str) -> str:
    """Make a line that is full of digests fit a terminal."""
    line = re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1…", line)
    line = re.sub(r" \(actual path.*\)", "", line)
    return re.sub(r"/\S*/pools/default/", "…/", line)
