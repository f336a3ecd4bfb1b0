# SPDX-License-Identifier: LGPL-2.1-or-later
"""The logs of what tests start: a failed test shows what was written during it.

What starts a process with a log file calls ``follow``. What deletes such files calls ``keep``
before, because the report of a test is made later. Output to the test's own standard error needs
neither: pytest captures it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from virtlayer.printable import printable

_LINES = 200
"""How many lines of a log a report has at most: the last ones."""
_BYTES = 64 * 1024
"""How much of a log is read for them."""

_followed: dict[tuple[Path, str], str] = {}
"""Titles of logs, by their directory and the pattern of their names."""
_old: dict[Path, int] = {}
"""How many bytes of a log were written before the test, or are in a report already."""
_kept: list[tuple[str, str]] = []
"""Titles and texts of logs whose files are deleted."""


def follow(title: str, directory: Path, pattern: str = "log") -> None:
    """Let failed tests show the logs of this name, or of names like this, in a directory."""
    _followed[directory, pattern] = title


def keep(directory: Path) -> None:
    """Read the logs below a directory, which is about to be deleted."""
    below = [place for place in _followed if place[0].is_relative_to(directory)]
    _kept.extend(_written(below))
    for place in below:
        del _followed[place]


def begin() -> None:
    """Leave out what was written until now."""
    _kept.clear()
    _old.clear()
    for _, path in _files(_followed):
        with contextlib.suppress(FileNotFoundError):
            _old[path] = path.stat().st_size


def sections() -> list[tuple[str, str]]:
    """The titles of the logs, and what was written to them since ``begin``, or the last call."""
    found = [*_kept, *_written(_followed)]
    begin()
    return found


def _written(places: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, str]]:
    for title, path in _files(places):
        with contextlib.suppress(FileNotFoundError):
            if text := _tail(path):
                yield f"{title}: {path}", text


def _files(places: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, Path]]:
    for directory, pattern in places:
        for path in sorted(directory.glob(pattern)):
            if path.is_file():
                yield _followed[directory, pattern], path


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        old = _old.get(path, 0)
        # A shorter file than before is a new one.
        file.seek(max(old if old <= size else 0, size - _BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(map(printable, lines[-_LINES:]))
