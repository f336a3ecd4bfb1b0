# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a program on a terminal, and types answers when it asks."""

import errno
import os
import pty
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_on_terminal(
    *command: str | Path,
    env: Mapping[str, str],
    cwd: Path,
    answers: Sequence[tuple[str, str]],
    patience: float,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it prints is its standard output.

    Args:
        command: The program and its arguments.
        env: Its environment.
        cwd: Where it starts.
        answers: Questions in their order, and what to type when each is asked.
        patience: Seconds after which a program that has not ended fails the test.
    """
    ours, theirs = pty.openpty()
    with (
        subprocess.Popen(
            ["setsid", "--wait", "--ctty", *command],
            env={**env, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process,
        # Closed before a program that has not ended is waited for, which ends it.
        os.fdopen(ours, "rb+", buffering=0) as terminal,
    ):
        os.close(theirs)
        deadline = time.monotonic() + patience
        printed = converse(terminal.fileno(), answers, patience)
        # Some programs close the terminal before they exit, as ln(1) does. Until they have exited,
        # they would get SIGHUP.
        process.wait(max(deadline - time.monotonic(), 0))
    return subprocess.CompletedProcess(command, process.returncode, printed.decode())


def converse(
    descriptor: int,
    answers: Sequence[tuple[str, str]],
    patience: float,
    look: Callable[[bytes], None] = lambda _printed: None,
) -> bytes:
    """Read from a terminal until no program has it, and answer; return what was read.

    Args:
        descriptor: Our end of the terminal.
        answers: Questions in their order, and what to type when each is asked.
        patience: Seconds that all may take.
        look: Called with everything that was read so far, after each piece.
    """
    printed = b""
    waiting = deque(answers)
    asked = 0
    deadline = time.monotonic() + patience
    while chunk := _read(descriptor, deadline, printed):
        printed += chunk
        look(printed)
        while waiting and (found := printed.find(waiting[0][0].encode(), asked)) >= 0:
            question, answer = waiting.popleft()
            asked = found + len(question)
            os.write(descriptor, f"{answer}\n".encode())
    return printed


def _read(descriptor: int, deadline: float, before: bytes) -> bytes:
    """Return what the next read gives; nothing when no process has the other end."""
    readable, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
    assert readable, f"no end after:\n{before.decode(errors='replace')}"
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
