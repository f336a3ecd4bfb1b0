# SPDX-License-Identifier: LGPL-2.1-or-later
"""Places a finished volume in the pool: on disk, under its name.

The file appears under its name only when all of it is on disk, and never replaces another file.
What was written is examined, given its owner and permissions, and placed by its descriptor: the
program that wrote it, or the pool's owner, may have replaced any name.
Two steps: the first may take long, when the disk is busy, and a cancelled job does not wait for it;
after the second the next layer can be built. ``registration`` lets libvirt find the volume.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.beneath import identity, link, open_regular
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.made import note_made
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import NewRecord
from virtlayer.keeper.kinds.directory.staging import StagingDirectory
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import ListedRecord

LAYER_MODE = 0o440
"""A layer is never written again: other images are based on it. Only QEMU reads it."""

type Check = Callable[[int, str], None]
"""Gets a descriptor of a file and the name of its volume; raises Internal if it must not get it."""


class FlushedFile:
    """A finished file that is on disk, open; to be closed, which leaving its context does.

    It is closed as well when nothing refers to it: a cancelled caller never sees it.
    """

    def __init__(self, descriptor: int, staging: StagingDirectory) -> None:
        self.descriptor = descriptor
        self.staging = staging

    def close(self) -> None:
        """Close it; nothing happens if it is closed."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


async def flush_volume(
    pool: Pool,
    staging: StagingDirectory,
    name: str,
    *,
    mode: int = LAYER_MODE,
    group: int | None = None,
) -> FlushedFile:
    """Give a finished file its owner and permissions, and wait until all of it is on disk.

    Args:
        pool: The pool, for error messages.
        staging: A staging directory of that pool.
        name: The file's name there.
        mode: The permissions.
        group: The gid that it gets, which for a layer is ``qemu_group``; None to leave it.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory no longer exists.
        Internal: The name stands for something else than a new file.
    """
    try:
        return await asyncio.to_thread(_flush, staging, name, mode, group)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


async def place_volume(
    pool: Pool,
    flushed: FlushedFile,
    name: str,
    check: Check | None = None,
    record: NewRecord | None = None,
) -> Placed:
    """Give a flushed file its name in the pool, for good when this returns.

    Args:
        pool: The pool.
        flushed: The file. It keeps the name in its staging directory in addition to the new one
            until the directory is removed: a program that is about to open it there still can.
        name: The volume's name. If a volume of that name is there, it stays: layer volumes of one
            name have one content.
        check: Examines the file before; None to place any file.
        record: The record of the volume, which is written before; None if it has none.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory no longer exists.
        Internal: The check says that the file must not get a name.
    """
    try:
        if record is None or is_layer_volume(name):
            placing = asyncio.to_thread(_place, flushed, pool.path / name, check, record)
            return await to_completion(placing)
        # A volume of that name may have been another one before, and left its record.
        return await under_lock(
            record.own, lambda _: _place(flushed, pool.path / name, check, record)
        )
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


def _flush(staging: StagingDirectory, name: str, mode: int, group: int | None) -> FlushedFile:
    flushed = FlushedFile(open_regular(staging.descriptor, name), staging)
    try:
        _take_over(flushed.descriptor, staging.owner, name, group)
        os.fchmod(flushed.descriptor, mode)
        os.fsync(flushed.descriptor)
    except BaseException:
        flushed.close()
        raise
    return flushed


def _take_over(file: int, owner: int, name: str, group: int | None) -> None:
    """Make this process's user the owner of a file that another user's program has written."""
    info = os.fstat(file)
    if info.st_uid not in (os.geteuid(), owner) or info.st_nlink != 1:
        raise Internal(
            f"The new file {name} belongs to UID {info.st_uid} and has {info.st_nlink} names, so "
            "it is not the file that was written. It was not used."
        )
    if group is None:
        group = info.st_gid if info.st_uid == os.geteuid() else os.getegid()
    if (info.st_uid, info.st_gid) != (os.geteuid(), group):
        os.fchown(file, os.geteuid(), group)


def _place(
    flushed: FlushedFile, target: Path, check: Check | None, record: NewRecord | None
) -> Placed:
    if check is not None:
        check(flushed.descriptor, target.name)
    directory = flushed.staging.pool_directory
    with recorded(directory, target.name, record, flushed.descriptor) as written:
        try:
            link(flushed.descriptor, directory, target.name)
            ours = True
        except FileExistsError:
            ours = False
            if record is not None and written is not None and not is_layer_volume(target.name):
                # Another program has made a volume meanwhile, without the lock.
                record.remove()
                written = None
        sync_names(directory, record)
    return Placed(target, ours, identity(flushed.descriptor), written)


def sync_names(directory: int, record: NewRecord | None) -> None:
    """Wait until the names of a volume and of its record are on disk."""
    if record is not None:
        # A file system with a journal writes both at a time, in the order in which they were given.
        os.fsync(record.own.descriptor)
    os.fsync(directory)


@contextlib.contextmanager
def recorded(
    directory: int, name: str, record: NewRecord | None, volume: int
) -> Iterator[ListedRecord | None]:
    """Have a record written, which stays if the volume that it is about is placed.

    Also note that virtlayer has made the volume, unless it is a layer. Both are there before the
    volume has its name, so that a crash leaves no volume without them.

    Args:
        directory: A descriptor of the pool's directory.
        name: The volume. If there is one, another one is not placed, and nothing is written.
        record: The record; None if there is none.
        volume: A descriptor of the volume.

    Yields:
        What was written; None if nothing was.
    """
    if record is None or _exists(directory, name):
        yield None
        return
    if is_layer_volume(name):
        # Layers of one name have one content, and two hosts may place one at a time.
        stamp = record.add()
    else:
        note_made(record.own, name, volume, is_disk=record.is_of_disk)
        stamp = record.replace()
    try:
        yield None if stamp is None else ListedRecord(record.file, stamp)
    except BaseException:
        if stamp is not None:
            record.remove()
        raise


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
