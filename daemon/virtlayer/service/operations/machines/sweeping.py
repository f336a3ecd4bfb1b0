# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes what machines of this host have left: ephemeral ones that ended, and unfinished ones.

The record of a volume says that it is expendable until its machine is finished, and for an
ephemeral machine for good. A volume that a running job claims is not touched.
"""

import logging
from collections.abc import Iterable

from virtlayer import journal
from virtlayer.cancellation import to_completion
from virtlayer.errors import VirtlayerError
from virtlayer.protocol.domains import Control, KnownDomain
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.pools import Pool
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.machines.ownership import delete_volume, keep_volume
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)


async def sweep_machines(services: Services, pool: Pool) -> None:
    """Delete what machines of this host have left in a pool, whose records the catalog has.

    What cannot be deleted now is logged, and tried again by the next sweep.

    Raises:
        InUse: A record of the pool is invalid.
        VirtlayerError: The pool or libvirt cannot be read.
    """
    volumes = await _expendable(services, pool)
    # Most often, these are ephemeral machines that run.
    if volumes and not _are_fine(volumes, await _known_domains(services)):
        async with services.claims.locked(pool) as lock:
            await services.records.synchronize_locked(lock)
            await services.records.refuse_bad(pool)
            await sweep_locked(services, lock, await abandoned_volumes(services, lock))


async def abandoned_volumes(services: Services, lock: PoolLock) -> tuple[CatalogVolume, ...]:
    """Return the volumes of machines of this host that no longer exist, or never did.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool, whose records the catalog has.

    Raises:
        VirtlayerError: libvirt cannot be asked.
    """
    volumes = await _expendable(services, lock.pool)
    volumes = [volume for volume in volumes if volume.name not in lock.claimed]
    if not volumes:
        return ()
    # With the lock: the job of a domain that is defined later claims its volume.
    known = await _known_domains(services)
    for volume in volumes:
        domain = known.get(_domain(volume))
        if domain is not None and not domain.ephemeral:
            # The service was killed when the machine was finished.
            await keep_volume(services, lock, volume.kind, volume.name)
    return tuple(volume for volume in volumes if _domain(volume) not in known)


async def sweep_locked(
    services: Services, lock: PoolLock, volumes: Iterable[CatalogVolume]
) -> tuple[Freed, ...]:
    """Delete volumes of machines that do not exist, with the files of the machines.

    What cannot be deleted now is logged.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool.
        volumes: The result of ``abandoned_volumes``.
    """
    freed = []
    for volume in volumes:
        try:
            freed.append(await to_completion(_sweep(services, lock, volume)))
        except VirtlayerError as error:
            _log.warning(
                'Cannot delete the volume "%s" of a machine that has ended: %s',
                volume.name,
                error,
                extra=journal.fields(pool=lock.pool.name, volume=volume.name),
            )
    return tuple(freed)


async def _sweep(services: Services, lock: PoolLock, volume: CatalogVolume) -> Freed:
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


async def _known_domains(services: Services) -> dict[str, KnownDomain]:
    return {domain.uuid: domain for domain in (await services.keeper.domains.list()).domains}


def _are_fine(volumes: Iterable[CatalogVolume], known: dict[str, KnownDomain]) -> bool:
    domains = [known.get(_domain(volume)) for volume in volumes]
    return all(domain is not None and domain.ephemeral for domain in domains)


def _domain(volume: CatalogVolume) -> str:
    assert volume.machine is not None, "it is the volume of a machine"
    return volume.machine.domain
