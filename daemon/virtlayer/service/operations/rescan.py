# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the catalog say what the pools hold.

Layer volumes are known by their names and what they stand on: those that the catalog lost come
back, and those that the pool lost are forgotten, with the images that needed them. Which image a
layer belongs to is written in no pool. A pull says it again, which builds nothing that is there.
Volumes that running jobs claim are left to these jobs.
"""

import logging
from dataclasses import dataclass

from virtlayer import journal
from virtlayer.errors import PoolNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import PoolName
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.layers import volumes_of
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanRequest:
    """Where to look.

    Attributes:
        pool: The name of the pool.
    """

    pool: PoolName


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescanned:
    """What the catalog did not know.

    Attributes:
        found: The layer volumes that it knows now.
        lost: The layer volumes that it has forgotten.
        images_lost: The names of the images that it has forgotten.
        orphans: How many of the pool's layer volumes belong to no image: a pull of theirs says
            whose they are, and prune deletes them.
    """

    found: tuple[str, ...]
    lost: tuple[str, ...]
    images_lost: tuple[str, ...]
    orphans: int


async def rescan(services: Services, request: RescanRequest, _job: Job) -> Rescanned:
    """Compare the catalog with a pool. One that libvirt does not know is forgotten.

    Raises:
        PoolNotFound: Neither libvirt nor the catalog has such a pool.
        PoolInactive: The pool is not started: nobody knows what it holds.
        VirtlayerError: libvirt cannot look at the pool.
    """
    try:
        pool = await services.pools.get(request.pool)
    except PoolNotFound:
        known = await services.catalog.volumes(request.pool)
        if not known and not await services.catalog.list(request.pool):
            raise
        return await _compared(services, request.pool, _Seen(known=known))
    # Jobs that run now may end before the comparison: what they claim may come meanwhile.
    async with services.claims.locked(pool) as lock:
        known = await services.catalog.volumes(pool.name)
        await services.pools.refresh(pool)
        volumes = await services.pools.all_volumes(pool)
        names = lock.claimed.union(volume.name for volume in volumes)
        await services.catalog.keep_origins(pool.name, names)
        layers = frozenset(volume.name for volume in volumes if _is_layer(pool, volume))
        return await _compared(services, pool.name, _Seen(known, layers, lock.claimed))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there was when a rescan looked.

    Attributes:
        known: The layer volumes of the catalog.
        layers: The layer volumes of the pool.
        claimed: The volumes that running jobs need or make: whether the pool has them, and the
            catalog, these jobs see to.
    """

    known: frozenset[str]
    layers: frozenset[str] = frozenset()
    claimed: frozenset[str] = frozenset()


async def _compared(services: Services, pool: str, seen: _Seen) -> Rescanned:
    found = sorted(seen.layers - seen.known - seen.claimed)
    lost = sorted(seen.known - seen.layers - seen.claimed)
    for name in found:
        await services.catalog.add_volume(pool, name)
    for name in lost:
        await services.catalog.remove_volume(pool, name)
    images_lost = []
    needed = set(seen.claimed)
    for image in await services.catalog.list(pool):
        if volumes_of(image) <= seen.layers | seen.claimed:
            needed |= volumes_of(image)
        elif await services.catalog.remove(pool, image.name):
            images_lost.append(image.name)
    _log.info(
        'Rescan of the pool "%s": %d layers found, %d layers lost, %d images lost.',
        pool,
        len(found),
        len(lost),
        len(images_lost),
        extra=journal.fields(pool=pool),
    )
    return Rescanned(
        found=tuple(found),
        lost=tuple(lost),
        images_lost=tuple(images_lost),
        orphans=len(seen.layers - needed),
    )


def _is_layer(pool: Pool, volume: Volume) -> bool:
    backing = volume.backing_path
    stands_on_layer = backing is None or (
        backing.parent == pool.path and is_layer_volume(backing.name)
    )
    return is_layer_volume(volume.name) and volume.format == "qcow2" and stands_on_layer
