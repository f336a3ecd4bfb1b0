# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes what nothing needs in a pool, or lists it: layers, boot volumes, ended machines."""

from collections.abc import Iterable
from dataclasses import dataclass

from virtlayer.protocol.names import PoolName
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import (
    Freed,
    delete_layers,
    delete_records_of_nothing,
    look_at_layers,
    would_free,
)
from virtlayer.service.operations.machines.sweeping import abandoned_volumes, sweep_locked
from virtlayer.service.operations.machines.unused_boot_volumes import (
    delete_boot_records_of_nothing,
    delete_boot_volumes,
    unused_boot_volumes,
)
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """A request to prune a pool.

    Attributes:
        pool: The name of the pool.
        dry_run: Only list the volumes that would be deleted.
    """

    pool: PoolName
    dry_run: bool = False


async def prune(services: Services, request: PruneRequest, _job: Job) -> Freed:
    """Delete what no image, kept version, overlay, domain or running job needs.

    That includes the volumes of ephemeral machines that have ended, and boot volumes.

    Raises:
        InUse: It cannot be determined which layers are in use; nothing was deleted.
        VirtlayerError: The pool cannot be read, or a volume cannot be deleted.
    """
    pool = await services.pools.get(request.pool)
    if not request.dry_run:
        await services.sweeper.sweep(pool)
    async with services.claims.locked(pool) as lock:
        await services.records.synchronize_locked(lock)
        await services.records.refuse_bad(pool)
        abandoned = await abandoned_volumes(services, lock)
        if request.dry_run:
            return await _would_free(services, lock, abandoned)
        # First, because their volumes need layers.
        freed = await sweep_locked(services, lock, abandoned)
        if freed:
            await services.records.synchronize_locked(lock)
        layers = await look_at_layers(services, lock)
        boots = await unused_boot_volumes(services, lock, layers)
        doomed = layers.removable(layers.known, layers.needed() | lock.claimed)
        freed += (
            await delete_boot_volumes(services, lock, layers, boots),
            await delete_layers(services, lock, layers, doomed),
        )
        await delete_records_of_nothing(services, lock, layers)
        await delete_boot_records_of_nothing(services, lock)
        return Freed(
            volumes=tuple(name for one in freed for name in one.volumes),
            bytes=sum(one.bytes for one in freed),
        )


async def _would_free(
    services: Services, lock: PoolLock, abandoned: Iterable[CatalogVolume]
) -> Freed:
    layers = await look_at_layers(services, lock)
    volumes = [one.name for one in abandoned if one.kind is RecordKind.VOLUME]
    boots = await unused_boot_volumes(services, lock, layers, but_for=volumes)
    doomed = layers.removable(layers.known, layers.needed() | lock.claimed)
    present = [name for name in (*volumes, *boots) if name in layers.usage.volumes]
    return would_free(layers, (*present, *doomed))
