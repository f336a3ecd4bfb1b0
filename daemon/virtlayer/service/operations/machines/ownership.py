# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keeps, releases and deletes the volumes and directories of machines, with their records."""

from dataclasses import replace

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.keeper.claims import Claim, PoolLock
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import Machine, VolumeRecord


async def keep_volume(
    services: Services, holder: Claim | PoolLock, kind: RecordKind, name: str
) -> None:
    """Record that the volume of a machine stays when the domain no longer exists.

    Args:
        services: The daemon's parts.
        holder: A claim of the volume, or the lock of its pool.
        kind: A volume or a directory.
        name: Its name.

    Raises:
        VirtlayerError: The record cannot be written.
    """
    await _set_expendable(services, holder, kind, name, is_expendable=False)


async def expend_volume(
    services: Services, holder: Claim | PoolLock, kind: RecordKind, name: str
) -> None:
    """Record that a sweep deletes the volume of a machine whose domain no longer exists.

    Args:
        services: The daemon's parts.
        holder: A claim of the volume, or the lock of its pool.
        kind: A volume or a directory.
        name: Its name.

    Raises:
        VirtlayerError: The record cannot be written.
    """
    await _set_expendable(services, holder, kind, name, is_expendable=True)


async def _set_expendable(
    services: Services,
    holder: Claim | PoolLock,
    kind: RecordKind,
    name: str,
    *,
    is_expendable: bool,
) -> None:
    def change(record: VolumeRecord | None) -> VolumeRecord | None:
        if record is None or record.machine is None:
            return record
        return replace(record, machine=replace(record.machine, expendable=is_expendable))

    await services.records.change_volume(holder, kind, name, change)


async def release_directory(
    services: Services, holder: Claim | PoolLock, name: str, machine: Machine
) -> None:
    """Record that a directory no longer belongs to a container.

    Args:
        services: The daemon's parts.
        holder: A claim of the directory, or the lock of its pool.
        name: The name of the directory.
        machine: The container.

    Raises:
        VirtlayerError: The record cannot be written.
    """

    def release(record: VolumeRecord | None) -> VolumeRecord | None:
        if record is None or record.machine is None:
            return record
        is_same = (record.machine.domain, record.machine.host) == (machine.domain, machine.host)
        return replace(record, machine=None) if is_same else record

    await services.records.change_volume(holder, RecordKind.DIRECTORY, name, release)


async def delete_volume(services: Services, lock: PoolLock, volume: CatalogVolume) -> Freed:
    """Delete the volume of a machine without a domain, and its record; a directory is released.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool.
        volume: The volume, which belongs to a machine.

    Returns:
        What was deleted: nothing if another program has deleted or replaced the volume.

    Raises:
        InUse: An overlay, another domain or a running job uses it.
        VirtlayerError: It cannot be deleted.
    """
    pool = lock.pool
    assert volume.machine is not None, "it is the volume of a machine"
    if volume.kind is RecordKind.DIRECTORY:
        await release_directory(services, lock, volume.name, volume.machine)
        return Freed(volumes=(), bytes=0)
    freed = Freed(volumes=(), bytes=0)
    inode = (await services.pools.inodes(pool, [volume.name])).get(volume.name)
    if inode is not None and volume.inode in (None, inode):
        present = await services.pools.volume(pool, volume.name)
        deletion = await services.pools.delete(lock, [volume.name])
        if deletion.error is not None:
            raise deletion.error
        size = 0 if present is None else present.allocation
        freed = Freed(volumes=deletion.names, bytes=size)
    await services.records.delete(lock, volume.kind, volume.name)
    return freed
