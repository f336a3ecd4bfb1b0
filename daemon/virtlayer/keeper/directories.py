# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a finished directory gets into the pool, as files do in ``commit``."""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, PoolUnsupported, VolumeExists
from virtlayer.keeper.commit import Placed
from virtlayer.keeper.failures import refused_by_system
from virtlayer.programs import ProgramFailed, run
from virtlayer.protocol.pools import Pool

_WRITABLE = 0o700
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


async def check_is_closed(pool: Pool) -> None:
    """See that users of this host cannot get at what is in a pool.

    The files of an image belong to root and to anybody, run with their owners' rights, and are
    devices: in a container that is what it is, and outside it would be a way to become root.

    Raises:
        PoolUnsupported: They can.
    """
    if await asyncio.to_thread(_is_open, pool.path):
        raise PoolUnsupported(
            f"Every user of this host can enter the directory of the pool “{pool.name}” "
            f"({pool.path}), and would have the image's setuid programs and devices there. Use a "
            "pool whose directory others cannot enter (chmod o-x), or one that is mounted with "
            "nosuid and nodev."
        )


async def flush_directory(directory: Path) -> None:
    """Wait until all that is in a directory is on disk.

    Raises:
        Internal: That cannot be had.
    """
    try:
        await run(["sync", "--file-system", "--", directory])
    except ProgramFailed as error:
        raise Internal(f"Writing {directory} to its disk failed: {error}.") from error


async def place_directory(pool: Pool, staged: Path, name: str) -> Placed:
    """Give a flushed directory its name in the pool, for good when this returns.

    Args:
        pool: The pool.
        staged: The directory, in a staging directory of that pool; it is gone afterwards.
        name: The volume's name.

    Raises:
        VolumeExists: The pool has something of that name.
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory does not exist any more.
    """
    try:
        return await to_completion(asyncio.to_thread(_place, staged, pool.path / name))
    except OSError as error:
        if error.errno in _TAKEN:
            raise VolumeExists(
                f"Another volume “{name}” came into the pool “{pool.name}” meanwhile. "
                "Take another name, or delete it."
            ) from error
        raise refused_by_system(error, pool.name, pool.path) from error


def _is_open(directory: Path) -> bool:
    flags = os.statvfs(directory).f_flag
    if flags & os.ST_NOSUID and flags & os.ST_NODEV:
        return False
    way = directory.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (way, *way.parents))


def _place(staged: Path, target: Path) -> Placed:
    # rename(2) replaces an empty directory, and nothing else: this one is to be replaced.
    target.mkdir(_WRITABLE)
    try:
        with _movable(staged):
            staged.rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            target.rmdir()
        raise
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Placed(target, ours=True)


@contextlib.contextmanager
def _movable(directory: Path) -> Iterator[None]:
    """Let a directory be moved whose mode forbids that to its owner: its ``..`` changes."""
    mode = stat.S_IMODE(directory.lstat().st_mode)
    if mode & _WRITABLE == _WRITABLE:
        yield
        return
    directory.chmod(_WRITABLE)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.fchmod(descriptor, mode)
        os.close(descriptor)
