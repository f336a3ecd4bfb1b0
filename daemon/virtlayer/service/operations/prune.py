# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes the layer volumes of a pool that nothing needs, or lists them."""

from dataclasses import dataclass

from virtlayer.protocol.names import PoolName
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.layers import (
    Freed,
    delete_layers,
    delete_records_of_nothing,
    look_at_layers,
    would_free,
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

    Raises:
        InUse: It cannot be determined which layers are in use; nothing was deleted.
        VirtlayerError: The pool cannot be read, or a volume cannot be deleted.
    """
    pool = await services.pools.get(request.pool)
    if not request.dry_run:
        await services.sweeper.sweep(pool)
    async with services.claims.locked(pool) as lock:
        layers = await look_at_layers(services, lock)
        doomed = layers.removable(layers.known, layers.needed() | lock.claimed)
        if request.dry_run:
            return would_free(layers, doomed)
        freed = await delete_layers(services, lock, layers, doomed)
        await delete_records_of_nothing(services, lock, layers)
        return freed
