# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes what machines of this host have left: ephemeral ones that ended, and unfinished ones.

The record of a volume says that it is expendable until its machine is finished, and for an
ephemeral machine for good. A volume that a running job claims is not touched.
"""

import logging

from virtlayer import journal
from virtlayer.cancellation import to_completion
from virtlayer.protocol.domains import Control
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.pools import Pool
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.machine_ownership import delete_volume, keep_volume
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)


async def sweep_machines(services: Services, pool: Pool) -> None:
    """Delete what machines of this host have left in a pool.

    Raises:
        VirtlayerError: The pool or libvirt cannot be read, or a volume cannot be deleted.
    """
    if await _expendable(services, pool):
        async with services.claims.locked(pool) as lock:
            await services.records.synchronize_locked(lock)
            for volume in await abandoned_volumes(services, lock):
                await to_completion(sweep_machine(services, lock, volume))


async def abandoned_volumes(services: Services, lock: PoolLock) -> tuple[CatalogVolume, ...]:
    """Return the volumes of machines of this host that no longer exist, or never did.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool, whose records the catalog has.
    """
    volumes = await _expendable(services, lock.pool)
    volumes = [volume for volume in volumes if volume.name not in lock.claimed]
    if not volumes:
        return ()
    # With the lock: the job of a domain that is defined later claims its volume.
    known = {domain.uuid: domain for domain in (await services.keeper.domains.list()).domains}
    for volume in volumes:
        domain = known.get(_domain(volume))
        if domain is not None and not domain.ephemeral:
            # Its job was killed at the very end.
            await keep_volume(services, lock, volume.kind, volume.name)
    return tuple(volume for volume in volumes if _domain(volume) not in known)


async def sweep_machine(services: Services, lock: PoolLock, volume: CatalogVolume) -> Freed:
    """Delete the files of a machine that no longer exists, and its volume.

    Raises:
        VirtlayerError: They cannot be deleted; the volume is expendable still.
    """
    control = services.keeper.domains.control
    await control(_domain(volume), lock.pool.uuid, Control.REMOVE)
    freed = await delete_volume(services, lock, volume)
    _log.info(
        'Deleted the volume "%s" of a machine that has ended from the pool "%s".',
        volume.name,
        lock.pool.name,
        extra=journal.fields(pool=lock.pool.name, volume=volume.name),
    )
    return freed


async def _expendable(services: Services, pool: Pool) -> list[CatalogVolume]:
    here = host_id()
    return [
        volume
        for volume in await services.catalog.volumes.list(pool.name)
        if volume.machine is not None and volume.machine.expendable and volume.machine.host == here
    ]


def _domain(volume: CatalogVolume) -> str:
    assert volume.machine is not None, "it is the volume of a machine"
    return volume.machine.domain
