# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports the space that images and volumes use in a pool, share, and that prune would free.

The pool is not locked, and libvirt does not refresh it, so that every user may ask.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from virtlayer.errors import PoolNotFound
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.names import PoolName
from virtlayer.protocol.pools import Pool, PoolState, Usage, Volume
from virtlayer.service.operations.layers import PoolLayers
from virtlayer.service.operations.list_volumes import made_volumes
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUsage:
    """The space that an image uses in its pool, in bytes.

    Attributes:
        name: Its name.
        own: The size of the layers that only this image has.
        shared: The size of the layers that other images have, too.
    """

    name: str
    own: int
    shared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """What a pool holds; all sizes are in bytes.

    Attributes:
        capacity: Of the pool.
        available: What is free of it.
        layers: How many layers there are.
        layer_bytes: What they take.
        shared_bytes: What those take that several images have.
        volumes: How many volumes, directories and disks were made of images.
        volume_bytes: What they take, but for the files in directories.
        boots: How many kernels and initrds of machines there are.
        boot_bytes: What they take.
        prunable: How many layers no image, kept version and no volume of the pool needs.
        prunable_bytes: What they take, and the kernels and initrds that no machine needs.
        images: What each image takes, by name.
    """

    capacity: int
    available: int
    layers: int
    layer_bytes: int
    shared_bytes: int
    volumes: int
    volume_bytes: int
    boots: int
    boot_bytes: int
    prunable: int
    prunable_bytes: int
    images: tuple[ImageUsage, ...]


async def disk_usage(services: Services, pool_name: PoolName) -> DiskUsage:
    """Find out what a pool holds, as libvirt saw it last.

    Raises:
        VirtlayerError: The pool cannot be looked at.
    """
    pool = await services.pools.get(pool_name)
    await services.records.synchronize(pool)
    state = await _state(services, pool)
    present = {volume.name: volume for volume in await services.pools.all_volumes(pool)}
    known = await services.catalog.layers.names(pool.name)
    chains = {name: volume.in_chain(pool) for name, volume in present.items()}
    layers = PoolLayers(
        pool=pool,
        known=known & present.keys(),
        usage=Usage(volumes=chains, users={}),
        images=await services.catalog.image_volumes(pool.name),
        versions=await services.catalog.versions(pool.name),
    )
    needed = layers.needed() | layers.with_backing(present.keys() - known)
    prunable = layers.removable(layers.known, needed)
    records = await made_volumes(services, pool)
    made = {record.name for record in records}
    boots = set(filter(is_boot_volume, present))
    unused = boots.difference(
        *(record.machine.boot_volumes for record in records if record.machine is not None)
    )
    files = [name for name in made if name in present and present[name].format != "dir"]
    users = Counter(name for image in layers.images for name in set(image.volumes))
    shared = {name for name, number in users.items() if number > 1}
    return DiskUsage(
        capacity=state.capacity,
        available=state.available,
        layers=len(layers.known),
        layer_bytes=_bytes(present, layers.known),
        shared_bytes=_bytes(present, shared),
        volumes=len(made),
        volume_bytes=_bytes(present, files),
        boots=len(boots),
        boot_bytes=_bytes(present, boots),
        prunable=len(prunable),
        prunable_bytes=_bytes(present, {*prunable, *unused}),
        images=tuple(
            ImageUsage(
                name=image.name,
                own=_bytes(present, set(image.volumes) - shared),
                shared=_bytes(present, set(image.volumes) & shared),
            )
            for image in layers.images
        ),
    )


async def _state(services: Services, pool: Pool) -> PoolState:
    for state in await services.pools.states():
        if state.uuid == pool.uuid:
            return state
    raise PoolNotFound(f'The pool "{pool.name}" no longer exists.')


def _bytes(volumes: dict[str, Volume], names: Iterable[str]) -> int:
    return sum(volumes[name].allocation for name in names if name in volumes)
