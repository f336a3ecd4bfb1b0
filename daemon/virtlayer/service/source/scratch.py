# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes directories for temporary files, which are removed soon after a process is killed.

Each is locked (flock(2)) until its owner ends. Directories without an owner are removed by the next
daemon, and when the next directory is made in the same place. The place itself is locked while a
directory is made, so that no directory is visible before it is locked.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

_PREFIX = "source-"


@contextlib.asynccontextmanager
async def scratch_directory(place: Path) -> AsyncIterator[Path]:
    """Make a private directory in ``place``; it is removed with its content on leaving.

    Args:
        place: Made if it is not there, in a directory of ours.
    """
    with contextlib.ExitStack() as files:
        directory, dead = _claimed(place, files)
        try:
            await _remove(dead)
            yield directory
        finally:
            await asyncio.shield(_remove([directory]))


async def sweep_scratch(place: Path) -> int:
    """Remove the directories in ``place`` whose owners have ended.

    Returns:
        How many there were.
    """
    try:
        with _locked(place):
            dead = _dead_in(place)
    except FileNotFoundError:
        return 0
    await _remove(dead)
    return len(dead)


def _claimed(place: Path, files: contextlib.ExitStack) -> tuple[Path, list[Path]]:
    """Make and lock a directory; return it, and those that nobody has locked."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(place):
        dead = _dead_in(place)
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        descriptor = files.enter_context(_opened(directory))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return directory, dead


def _dead_in(place: Path) -> list[Path]:
    return [path for path in place.glob(f"{_PREFIX}*") if _is_dead(path)]


def _is_dead(path: Path) -> bool:
    try:
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


async def _remove(paths: list[Path]) -> None:
    for path in paths:
        await asyncio.to_thread(_remove_tree, path)


def _remove_tree(top: Path) -> None:
    # skopeo unpacks directories with the modes that an archive says; the content of a closed one
    # cannot be removed.
    for parent, directories, _files in os.walk(top):
        for name in directories:
            path = Path(parent, name)
            with contextlib.suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(top, ignore_errors=True)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    with _opened(place) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # it is never held for long
        yield


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
