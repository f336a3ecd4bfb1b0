# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs other programs, and measures what a stretch of work takes."""

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def run(*argv: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it prints.

    Raises:
        SystemExit: It failed; with what it said.
    """
    done = subprocess.run(
        argv,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        command = shlex.join(str(part) for part in argv)
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def sync(directory: Path) -> None:
    """Put everything on the directory's file system on disk, as syncfs(2) does."""
    run("sync", "--file-system", directory)


def warm(*files: Path) -> None:
    """Have files in the page cache, so that nobody's time is that of reading them from disk."""
    subprocess.run(["cat", "--", *files], stdout=subprocess.DEVNULL, check=True)


@dataclass(slots=True)
class Stopwatch:
    """How long a stretch of work took, in seconds."""

    seconds: float = 0.0


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure the wall-clock time of the context."""
    watch = Stopwatch()
    started = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - started


def disk_usage(*paths: Path) -> int:
    """The bytes that files, and everything in directories, take on disk."""
    return int(sum(int(line.split()[0]) for line in run("du", "-sB1", *paths).splitlines()))
