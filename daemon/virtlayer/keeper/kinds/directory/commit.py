# SPDX-License-Identifier: LGPL-2.1-or-later
"""Places a finished volume in the pool: on disk, under its name, known to libvirt.

The file appears under its name only when all of it is on disk, and never replaces another file.
What was written is examined, given its owner and permissions, and placed by its descriptor: the
program that wrote it, or the pool's owner, may have replaced any name.
Three steps: the first and the third may take long, when the disk or libvirt is busy, and a
cancelled job does not wait for them; after the second the next layer can be built. The third is
done once for all volumes of a chain: a refresh looks into every file of the pool.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, Libvirt, VirtlayerError, VolumeExists
from virtlayer.keeper.beneath import identity, link, open_directory, open_regular, opened
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import NewRecord, delete_record
from virtlayer.keeper.kinds.directory.removal import remove_tree
from virtlayer.keeper.kinds.directory.staging import StagingDirectory
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.pools import Pools, soon_or_never
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.records import RecordKind, Stamp, record_file

LAYER_MODE = 0o440
"""A layer is never written again: other images are based on it. Only QEMU reads it."""
_LAYER_FORMATS = ("qcow2",)

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


async def register_volume(
    pools: Pools,
    pool: Pool,
    placed: Placed,
    *,
    expected_backing: Path | None,
    formats: Collection[str] = _LAYER_FORMATS,
) -> Volume:
    """Let libvirt find a placed volume, and check how libvirt describes it.

    A file of ours that fails here is removed from the pool again. One whose job is cancelled here
    stays: libvirt finds it with the next refresh.

    Args:
        pools: The pools of the connection.
        pool: The pool that the volume was placed in.
        placed: What ``place_volume`` returned.
        expected_backing: The image that the volume is an overlay of; None if of none.
        formats: What libvirt may take it for.

    Raises:
        Libvirt: libvirt does not see the volume, or sees another format or backing store.
        VolumeExists: A file of another owner has the name, and is something else.
        PoolNotFound: The pool no longer exists.
        PoolInactive: The pool was stopped meanwhile.
    """
    try:
        found = await pools.refreshed_volumes(pool, [placed.path.name])
        volume = _seen(found, pool, placed)
        _check(volume, pool, placed, expected_backing, formats)
    except VirtlayerError:
        await withdraw_volume(pools, pool, placed)
        raise
    return volume


async def register_chain(
    pools: Pools,
    pool: Pool,
    chain: Mapping[Placed, Path | None],
    removing: Callable[[str], AbstractAsyncContextManager[None]],
) -> dict[str, Volume]:
    """Let libvirt find the placed volumes of a chain, and check how it describes them.

    The first volume that it describes otherwise is removed from the pool again, with the volumes
    that are based on it. If libvirt cannot refresh the pool, or does not list one, all stay: they
    are complete, other volumes may be based on them by now, and the next refresh finds them.

    Args:
        pools: The pools of the connection.
        pool: The pool that the volumes were placed in.
        chain: What ``place_volume`` returned, base first, and the image that each is an overlay of;
            None if of none.
        removing: A layer is removed in its context. Raises InUse if something uses the layer.

    Returns:
        The volumes by their names.

    Raises:
        VirtlayerError: As ``register_volume``.
    """
    volumes = await pools.refreshed_volumes(pool, [placed.path.name for placed in chain])
    for placed, backing in chain.items():
        volume = _seen(volumes, pool, placed)
        try:
            _check(volume, pool, placed, backing, _LAYER_FORMATS)
        except Libvirt:
            order = list(chain)
            for doomed in reversed(order[order.index(placed) :]):
                if doomed.ours:
                    async with removing(doomed.path.name):
                        await withdraw_volume(pools, pool, doomed)
            raise
    return volumes


async def withdraw_volume(pools: Pools, pool: Pool, placed: Placed) -> None:
    """Remove a placed file again, if it is ours, and let libvirt forget it if it does so soon."""
    if placed.ours:
        await to_completion(_withdraw(pools, pool, placed))


async def _withdraw(pools: Pools, pool: Pool, placed: Placed) -> None:
    await asyncio.to_thread(_remove, pool, placed)
    async with soon_or_never():
        await pools.refresh(pool)


def _seen(volumes: Mapping[str, Volume], pool: Pool, placed: Placed) -> Volume:
    try:
        return volumes[placed.path.name]
    except KeyError:
        raise Libvirt(
            f'libvirt does not list the volume {placed.path.name} in the pool "{pool.name}" after '
            "a refresh. Check that libvirtd uses the same directory for the pool."
        ) from None


def _check(
    volume: Volume,
    pool: Pool,
    placed: Placed,
    expected_backing: Path | None,
    formats: Collection[str],
) -> None:
    backing_format = None if expected_backing is None else "qcow2"
    backing = (volume.backing_path, volume.backing_format)
    if volume.format in formats and backing == (expected_backing, backing_format):
        return
    seen = f"{volume.format} on {volume.backing_path} ({volume.backing_format})"
    if placed.ours:
        raise Libvirt(
            f'libvirt detected {seen} in the new volume {volume.name} of the pool "{pool.name}", '
            f"not {' or '.join(formats)} on {expected_backing}. The volume was removed."
        )
    raise VolumeExists(
        f'A file {volume.name} was created in the pool "{pool.name}" during the job: {seen}, not '
        f"the layer of that name (qcow2 on {expected_backing}). Delete it and try again."
    )


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
    with recorded(directory, target.name, record) as stamp:
        try:
            link(flushed.descriptor, directory, target.name)
            ours = True
        except FileExistsError:
            ours = False
        sync_names(directory, record)
    return Placed(target, ours, identity(flushed.descriptor), stamp)


def sync_names(directory: int, record: NewRecord | None) -> None:
    """Wait until the names of a volume and of its record are on disk."""
    if record is not None:
        # A file system with a journal writes both at a time, in the order in which they were given.
        os.fsync(record.own.descriptor)
    os.fsync(directory)


@contextlib.contextmanager
def recorded(directory: int, name: str, record: NewRecord | None) -> Iterator[Stamp | None]:
    """Have a record written, which stays if the volume that it is about is placed.

    Args:
        directory: A descriptor of the pool's directory.
        name: The volume. If there is one, another one is not placed, and nothing is written.
        record: The record; None if there is none.

    Yields:
        Its stamp; None if it was not written.
    """
    if record is None or _exists(directory, name):
        yield None
        return
    # Layers of one name have one content, and two hosts may place one at a time.
    stamp = record.add() if is_layer_volume(name) else record.replace()
    try:
        yield stamp
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


def _remove(pool: Pool, placed: Placed) -> None:
    name = placed.path.name
    with contextlib.suppress(OSError), opened(open_directory(pool.path)) as directory:
        remove_tree(directory, name, only=placed.identity)
    if is_layer_volume(name):
        delete_record(pool, record_file(RecordKind.LAYER, name))
