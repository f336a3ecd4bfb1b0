# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes a machine or container that virtlayer has made, with its own volume.

Layers, the disk of an image, and the directory of a container stay.
"""

from dataclasses import dataclass

from virtlayer.cancellation import to_completion
from virtlayer.errors import InUse, PoolNotFound
from virtlayer.protocol.domains import Control, KnownDomain
from virtlayer.protocol.names import DomainName
from virtlayer.protocol.pools import Pool
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.machines.domain_lookup import RUNNING, domain_of, pool_name_of
from virtlayer.service.operations.machines.ownership import delete_volume, expend_volume
from virtlayer.service.operations.machines.stop_domain import end_domain
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDomainRequest:
    """A request to remove a machine. The result is what was freed.

    Attributes:
        name: The name of its domain.
        force: Whether it is stopped first, if it runs.
    """

    name: DomainName
    force: bool = False


async def remove_domain(services: Services, request: RemoveDomainRequest, _job: Job) -> Freed:
    """Remove a machine: its domain, its configuration, its logs and its volume.

    Raises:
        DomainNotFound: virtlayer has not made such a machine.
        InUse: It runs, has snapshots, or something else uses its volume.
        PoolNotFound: libvirt does not have the pool of its volume.
        VirtlayerError: It cannot be removed.
    """
    domain = await domain_of(services, request.name)
    if domain.state in RUNNING and not request.force:
        raise InUse(
            f'The machine "{domain.name}" is {domain.state}. Stop it first, or remove it with '
            "--force."
        )
    pool = await services.pools.get(await _pool_name(services, domain))
    async with services.claims.locked(pool) as lock:
        await services.records.synchronize_locked(lock)
        volume = await _volume(services, pool, domain)
        if volume is not None:
            await _check_no_overlay(services, pool, domain, volume)
        await end_domain(services, domain)
        return await to_completion(_remove(services, lock, domain, volume))


async def _remove(
    services: Services, lock: PoolLock, domain: KnownDomain, volume: CatalogVolume | None
) -> Freed:
    await services.keeper.domains.control(domain.uuid, lock.pool.uuid, Control.REMOVE)
    if volume is None:
        return Freed(volumes=(), bytes=0)
    try:
        return await delete_volume(services, lock, volume)
    except InUse as error:
        # The cluster of an RBD pool counts a killed QEMU as a client for 30 s.
        await expend_volume(services, lock, volume.kind, volume.name)
        raise InUse(
            f'The machine "{domain.name}" was removed, but not its volume: {error.message} The '
            'next "virtlayer prune" deletes the volume.'
        ) from error


async def _pool_name(services: Services, domain: KnownDomain) -> str:
    name = await pool_name_of(services, domain)
    if name == domain.pool:
        raise PoolNotFound(
            f'libvirt does not have the pool with the volume of the machine "{domain.name}" (UUID '
            f"{domain.pool}). Define that pool again, and start it."
        )
    return name


async def _volume(services: Services, pool: Pool, domain: KnownDomain) -> CatalogVolume | None:
    """Return the volume that was made for a machine; None if its record was deleted."""
    for volume in await services.catalog.volumes.list(pool.name):
        if volume.machine is not None and volume.machine.domain == domain.uuid:
            return volume
    return None


async def _check_no_overlay(
    services: Services, pool: Pool, domain: KnownDomain, volume: CatalogVolume
) -> None:
    """Check that no volume of the pool is an overlay of a machine's volume, such as a snapshot.

    Otherwise the domain would be removed, and its volume not.

    Raises:
        InUse: There is one.
    """
    for other in await services.pools.all_volumes(pool):
        if other.backing_in(pool) == volume.name:
            raise InUse(
                f'The volume of the machine "{domain.name}" is used by the volume "{other.name}" '
                f'in the pool "{pool.name}". Delete that first.'
            )
