# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets libvirt find placed volumes, and removes those that it describes otherwise.

This is done once for all volumes of a chain: a refresh looks into every file of the pool.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager

from virtlayer.cancellation import to_completion
from virtlayer.errors import Libvirt, VirtlayerError, VolumeExists
from virtlayer.keeper.beneath import open_directory, opened
from virtlayer.keeper.kinds.directory.made import forget_made
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import delete_record
from virtlayer.keeper.kinds.directory.removal import remove_tree
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.pools import Pools, soon_or_never
from virtlayer.protocol.calls import ExpectedVolume
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.records import RecordKind, record_file


async def register_volumes(
    pools: Pools,
    pool: Pool,
    expected: Mapping[Placed, ExpectedVolume],
    removing: Callable[[str], AbstractAsyncContextManager[None]],
) -> dict[str, Volume]:
    """Let libvirt find placed volumes, and check how it describes them.

    The first volume that it describes otherwise is removed from the pool again, with those that
    follow it. If libvirt cannot refresh the pool, or does not list one, layers stay: they are
    complete, other volumes may be based on them by now, and the next refresh finds them. Other
    volumes are removed then. If the job is cancelled here, all stay.

    Args:
        pools: The pools of the connection.
        pool: The pool that the volumes were placed in.
        expected: What was placed, each before those that are based on it, and how libvirt is
            expected to describe it.
        removing: A volume is removed in its context. Raises InUse if it is a layer that something
            uses.

    Returns:
        The volumes by their names.

    Raises:
        Libvirt: libvirt does not see a volume, or sees another format or backing store.
        VolumeExists: A file of another owner has the name, and is something else.
        PoolNotFound: The pool no longer exists.
        PoolInactive: The pool was stopped meanwhile.
        InUse: A layer that libvirt describes otherwise is used.
    """
    order = list(expected)
    doomed = [placed for placed in order if not is_layer_volume(placed.path.name)]
    try:
        volumes = await pools.refreshed_volumes(pool, [placed.path.name for placed in order])
        for placed, one in expected.items():
            volume = _listed(volumes, pool, placed)
            if not _is_as_expected(volume, pool, one):
                if placed.ours:
                    doomed = order[order.index(placed) :]
                raise _unexpected(volume, pool, placed, one)
    except VirtlayerError:
        for placed in reversed(doomed):
            if placed.ours:
                async with removing(placed.path.name):
                    await withdraw_volume(pools, pool, placed)
        raise
    return volumes


async def withdraw_volume(pools: Pools, pool: Pool, placed: Placed) -> None:
    """Remove a placed file again, if it is ours, and let libvirt forget it if it does so soon.

    Its record is removed after it.

    Raises:
        PoolLocked: It has a record, and another process has the pool's lock; nothing was removed.
    """
    if placed.ours:
        await to_completion(_withdraw(pools, pool, placed))


async def _withdraw(pools: Pools, pool: Pool, placed: Placed) -> None:
    if placed.record is None or is_layer_volume(placed.path.name):
        await asyncio.to_thread(_remove, pool, placed)
    else:
        # Another host may place another volume of this name, and replace the record.
        await under_lock(pool, lambda _: _remove(pool, placed))
    async with soon_or_never():
        await pools.refresh(pool)


def _remove(pool: Pool, placed: Placed) -> None:
    name = placed.path.name
    with contextlib.suppress(OSError), opened(open_directory(pool.path)) as directory:
        remove_tree(directory, name, only=placed.identity)
    if is_layer_volume(name):
        delete_record(pool, record_file(RecordKind.LAYER, name))
    else:
        forget_made(pool, name)
        if placed.record is not None:
            delete_record(pool, placed.record.file, only=placed.record.stamp)


def _listed(volumes: Mapping[str, Volume], pool: Pool, placed: Placed) -> Volume:
    try:
        return volumes[placed.path.name]
    except KeyError:
        raise Libvirt(
            f'libvirt does not list the volume {placed.path.name} in the pool "{pool.name}" after '
            "a refresh. Check that libvirtd uses the same directory for the pool."
        ) from None


def _is_as_expected(volume: Volume, pool: Pool, expected: ExpectedVolume) -> bool:
    backing = None if expected.backing is None else pool.path / expected.backing
    is_on_backing = volume.backing_path == backing and volume.backing_format in _backing_formats(
        expected.backing
    )
    return is_on_backing and volume.format in expected.formats


def _backing_formats(backing: str | None) -> Collection[str | None]:
    if backing is None:
        return (None,)
    # That of a disk was checked before the overlay was placed.
    return ("qcow2",) if is_layer_volume(backing) else ("qcow2", "raw")


def _unexpected(
    volume: Volume, pool: Pool, placed: Placed, expected: ExpectedVolume
) -> VirtlayerError:
    backing = None if expected.backing is None else pool.path / expected.backing
    seen = f"{volume.format} on {volume.backing_path} ({volume.backing_format})"
    if placed.ours:
        return Libvirt(
            f'libvirt detected {seen} in the new volume {volume.name} of the pool "{pool.name}", '
            f"not {' or '.join(expected.formats)} on {backing}. The volume was removed."
        )
    return VolumeExists(
        f'A file {volume.name} was created in the pool "{pool.name}" during the job: {seen}, not '
        f"the layer of that name (qcow2 on {backing}). Delete it and try again."
    )
