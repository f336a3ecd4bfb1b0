# SPDX-License-Identifier: LGPL-2.1-or-later
"""Updates the records of a pool from its volumes.

Layer volumes are recognized by their names and backing volumes. A layer without a record gets one.
The records of missing layers are deleted, with the images that need them. Only the record of an
image says which layers belong to it. If that record is lost, a pull writes it again and reuses
existing layers. Volumes that running jobs claim are ignored.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from virtlayer import journal
from virtlayer.errors import PoolNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import PoolName
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.records import RecordKind
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import LayerRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanRequest:
    """A request to rescan a pool.

    Attributes:
        pool: The name of the pool.
    """

    pool: PoolName


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescanned:
    """The differences between the records and the pool.

    Attributes:
        found: The layer volumes that have records now.
        lost: The layer volumes whose records were deleted.
        images_lost: The names of the images whose records were deleted.
        orphans: How many layer volumes belong to no image: a pull of their image assigns them
            again, and prune deletes them.
    """

    found: tuple[str, ...]
    lost: tuple[str, ...]
    images_lost: tuple[str, ...]
    orphans: int


async def rescan(services: Services, request: RescanRequest, _job: Job) -> Rescanned:
    """Compare the records of a pool with its volumes. A pool unknown to libvirt is forgotten.

    Raises:
        PoolNotFound: Neither libvirt nor the catalog has such a pool.
        PoolInactive: The pool is not started, so its content is unknown.
        VirtlayerError: libvirt cannot look at the pool.
    """
    try:
        pool = await services.pools.get(request.pool)
    except PoolNotFound:
        forgotten = await _forgotten(services, request.pool)
        if forgotten is None:
            raise
        return forgotten
    # Jobs that run now may end before the comparison: the volumes that they claim may appear.
    async with services.claims.locked(pool) as lock:
        await services.records.synchronize_locked(lock)
        volumes = await services.pools.all_volumes(pool, refresh=True)
        await _forget_volumes(services, lock, {volume.name for volume in volumes})
        return await _compared(services, lock, {v.name for v in volumes if _is_layer(pool, v)})


async def _forgotten(services: Services, pool: PoolName) -> Rescanned | None:
    """Forget a pool that libvirt does not have; None if the catalog does not have it, either."""
    layers = await services.catalog.layers.names(pool)
    images = await services.catalog.image_volumes(pool)
    if not layers and not images:
        return None
    await services.records.forget(pool)
    _log_differences(pool, found=0, layers_lost=len(layers), images_lost=len(images))
    return Rescanned(
        found=(),
        lost=tuple(sorted(layers)),
        images_lost=tuple(image.name for image in images),
        orphans=0,
    )


async def _forget_volumes(services: Services, lock: PoolLock, there: Collection[str]) -> None:
    """Delete the records of writable volumes, directories and disks that no longer exist."""
    for volume in await services.catalog.volumes.list(lock.pool.name):
        if volume.name not in there and volume.name not in lock.claimed:
            await services.records.delete(lock, volume.kind, volume.name)


async def _compared(services: Services, lock: PoolLock, layers: Collection[str]) -> Rescanned:
    """Update the records from the volumes of the pool.

    Args:
        services: The daemon's parts.
        lock: The lock of the pool. Running jobs write the records of the volumes that they claim.
        layers: The layer volumes of the pool.
    """
    pool, claimed, records = lock.pool.name, lock.claimed, services.records
    known = await services.catalog.layers.names(pool)
    found = sorted(frozenset(layers) - known - claimed)
    lost = sorted(known.difference(layers) - claimed)
    for name in found:
        await records.add(lock, LayerRecord(name=name))
    for name in lost:
        await records.delete(lock, RecordKind.LAYER, name)
    images_lost = []
    # Once: for each of thousands of images, it would take quadratic time.
    there = claimed.union(layers)
    needed = set(claimed)
    for image in await services.catalog.image_volumes(pool):
        if there.issuperset(image.volumes):
            needed.update(image.volumes)
        else:
            await records.delete(lock, RecordKind.IMAGE, image.name)
            images_lost.append(image.name)
    _log_differences(pool, found=len(found), layers_lost=len(lost), images_lost=len(images_lost))
    return Rescanned(
        found=tuple(found),
        lost=tuple(lost),
        images_lost=tuple(images_lost),
        orphans=len(frozenset(layers) - needed),
    )


def _log_differences(pool: str, *, found: int, layers_lost: int, images_lost: int) -> None:
    _log.info(
        'Rescan of the pool "%s": %d layers found, %d layers lost, %d images lost.',
        pool,
        found,
        layers_lost,
        images_lost,
        extra=journal.fields(pool=pool),
    )


def _is_layer(pool: Pool, volume: Volume) -> bool:
    stands_on_layer = volume.backing_path is None or is_layer_volume(volume.backing_in(pool) or "")
    return is_layer_volume(volume.name) and volume.format == pool.chain_format and stands_on_layer
