# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds and deletes the boot volumes of a pool that no machine needs, and their records.

The records of volumes name the boot volumes of machines, also of those of other hosts.
"""

from collections.abc import Collection

from virtlayer.cancellation import to_completion
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.records import RecordKind
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import Freed, PoolLayers, would_free
from virtlayer.service.operations.services import Services


async def unused_boot_volumes(
    services: Services, lock: PoolLock, layers: PoolLayers, but_for: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the names of the boot volumes that no machine and no running job needs.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool.
        layers: The volumes of the pool, and their users.
        but_for: The names of volumes whose machines do not count.
    """
    needed = {*lock.claimed, *layers.usage.users}
    for volume in await services.catalog.volumes.list(lock.pool.name):
        if volume.machine is not None and volume.name not in but_for:
            needed.update(volume.machine.boot_volumes)
    present = filter(is_boot_volume, layers.usage.volumes)
    return tuple(sorted(set(present) - needed))


async def delete_boot_volumes(
    services: Services, lock: PoolLock, layers: PoolLayers, doomed: tuple[str, ...]
) -> Freed:
    """Delete boot volumes.

    Raises:
        InUse: A machine or a running job uses one of them. Those before it are deleted.
        VirtlayerError: libvirt cannot delete one of them.
    """
    if doomed:
        deletion = await to_completion(services.pools.delete(lock, doomed))
        if deletion.error is not None:
            raise deletion.error
    return would_free(layers, doomed)


async def delete_boot_records_of_nothing(services: Services, lock: PoolLock) -> None:
    """Delete the records of boot files whose image or whose volumes no longer exist.

    Raises:
        VirtlayerError: The pool cannot be read or written.
    """
    pool = lock.pool
    records = await services.catalog.boots.list(pool.name)
    names = {name for record in records for name in (record.name, *record.boot_volumes)}
    present = set(await services.pools.inodes(pool, names)) | lock.claimed
    for record in records:
        # What an image has is still true when its boot volumes were deleted.
        is_of_image = is_layer_volume(record.name)
        if not (record.name in present if is_of_image else present & record.boot_volumes):
            await services.records.delete(lock, RecordKind.BOOT, record.name)
