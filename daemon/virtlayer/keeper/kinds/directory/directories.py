# SPDX-License-Identifier: LGPL-2.1-or-later
"""Places a finished directory in the pool, as ``commit`` does with files."""

import asyncio
import contextlib
import errno
import functools
import os
import stat
from collections.abc import Iterator

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, VolumeExists
from virtlayer.keeper.beneath import identity
from virtlayer.keeper.calls import sync_filesystem
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.commit import recorded, sync_names
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import NewRecord
from virtlayer.keeper.kinds.directory.staging import StagingDirectory
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.protocol.pools import Pool

_WRITABLE = 0o700
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


async def flush_directory(directory: int) -> None:
    """Wait until all that is in a directory is on disk.

    Args:
        directory: A descriptor of it.

    Raises:
        Internal: It cannot be written.
    """
    try:
        await asyncio.to_thread(sync_filesystem, directory)
    except OSError as error:
        raise Internal(f"Writing the directory to its disk failed: {error.strerror}.") from error


async def place_directory(
    pool: Pool,
    staging: StagingDirectory,
    staged: str,
    directory: int,
    name: str,
    record: NewRecord | None = None,
) -> Placed:
    """Give a flushed directory its name in the pool, for good when this returns.

    Args:
        pool: The pool.
        staging: A staging directory of that pool, which only this process's user may enter.
        staged: The directory's name there, which it loses.
        directory: A descriptor of it.
        name: The volume's name.
        record: What says about the volume what it is, written before; None if nothing does.

    Raises:
        VolumeExists: The pool has something of that name.
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory no longer exists.
    """
    place = functools.partial(_place, pool, staging, staged, directory, name, record)
    try:
        if record is None:
            return await to_completion(asyncio.to_thread(place))
        # A volume of that name may have been another one before, and left its record.
        return await under_lock(record.own, lambda _: place())
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


def _place(
    pool: Pool,
    staging: StagingDirectory,
    staged: str,
    directory: int,
    name: str,
    record: NewRecord | None,
) -> Placed:
    target = staging.pool_directory
    with recorded(target, name, record, directory) as written:
        try:
            # rename(2) replaces an empty directory, and nothing else: this one is to be replaced.
            os.mkdir(name, _WRITABLE, dir_fd=target)
            _move(staging, staged, directory, name)
        except OSError as error:
            if error.errno in _TAKEN:
                raise VolumeExists(
                    f'Another volume "{name}" was created in the pool "{pool.name}" during '
                    "the pull. Choose another name, or delete that volume."
                ) from error
            raise
        sync_names(target, record)
    return Placed(pool.path / name, ours=True, identity=identity(directory), record=written)


def _move(staging: StagingDirectory, staged: str, directory: int, name: str) -> None:
    """Move a directory to where an empty one is, which is removed if that fails."""
    target = staging.pool_directory
    try:
        with _movable(directory):
            os.rename(staged, name, src_dir_fd=staging.descriptor, dst_dir_fd=target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=target)
        raise


@contextlib.contextmanager
def _movable(directory: int) -> Iterator[None]:
    """Let a directory be moved whose mode forbids that to its owner: its ``..`` changes."""
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if mode & _WRITABLE == _WRITABLE:
        yield
        return
    os.fchmod(directory, _WRITABLE)
    try:
        yield
    finally:
        os.fchmod(directory, mode)
