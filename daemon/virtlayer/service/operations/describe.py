# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes a volume: its file, and the image that it is based on."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InvalidArgument, VolumeNotFound
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import PoolName, VolumeName, parse_volume_name
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.virsh import virsh
from virtlayer.service.catalog.catalog import Origin
from virtlayer.service.operations.services import Services
from virtlayer.settings import CONTAINER_IDS

_LONGEST_CHAIN = 200
"""Volumes. libvirt and QEMU open no longer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDescription:
    """What there is to know of a volume.

    Attributes:
        path: Its file or directory.
        format: Such as qcow2, or dir.
        layer: Whether it is a layer, which is never written to.
        image: The name of the image that it is, is based on, or was made of; "" if unknown.
        digest: Of that image's manifest; "" if unknown.
        config: That image's OCI config, JSON; "" if unknown. Of the version that it uses, even
            if the name means a newer one by now.
        disk: Whether it is a machine's whole disk out of an image, which boots by itself.
        ids: How the image's users and groups were mapped in a directory, for a container; None if
            they were not.
    """

    path: Path
    format: str
    layer: bool
    image: str = ""
    digest: str = ""
    config: str = ""
    disk: bool = False
    ids: IdRange | None = None


async def describe_volume(
    services: Services, pool_name: PoolName, name: VolumeName
) -> VolumeDescription:
    """Look at a volume and at the image that it is an overlay of, as libvirt knows them now.

    Raises:
        VolumeNotFound: libvirt lists no volume of that name in the pool.
        VirtlayerError: libvirt cannot look at the pool.
    """
    pool = await services.pools.get(pool_name)
    volume = await services.pools.listed_volume(pool, name)
    if volume is None:
        raise VolumeNotFound(
            f'The pool "{pool_name}" has no volume "{name}". If its file is new, refresh the pool: '
            + virsh(services.libvirt_uri, "pool-refresh", pool_name)
        )
    images = {
        top: (image_name, digest, config)
        for top, image_name, digest, config in [
            *(
                (one.volume, one.name, one.digest, one.config)
                for one in await services.catalog.versions(pool_name)
            ),
            *(
                (one.volume, one.name, one.digest, one.config)
                for one in await services.catalog.list(pool_name)
            ),
        ]
    }
    below = await _first_of(images, services, pool, volume)
    is_disk, ids = False, None
    if below is not None:
        image, digest, config = images[below]
    elif origin := await _origin(services, pool, volume):
        image, digest, config = origin.image, origin.digest, origin.config
        is_disk = volume.format != "dir"
        if origin.id_base is not None:
            ids = IdRange(0, origin.id_base, CONTAINER_IDS)
    else:
        image = digest = config = ""
    return VolumeDescription(
        path=volume.path,
        format=volume.format,
        layer=is_layer_volume(volume.name),
        image=image,
        digest=digest,
        config=config,
        disk=is_disk,
        ids=ids,
    )


async def _origin(services: Services, pool: Pool, volume: Volume) -> Origin | None:
    """The image that a volume without a chain was made of; None if that is not known."""
    origin = await services.catalog.origin(pool.name, volume.name)
    if origin:
        inodes = await services.pools.inodes(pool, [volume.name])
        if origin.inode == inodes.get(volume.name):
            return origin
    return None


async def _first_of(
    images: Container[str], services: Services, pool: Pool, volume: Volume
) -> str | None:
    """The first volume of a chain, from the top, that is an image's; None if none is."""
    below: Volume | None = volume
    visited: set[str] = set()
    # Anybody can write overlays that are based on each other.
    while below is not None and below.name not in visited and len(visited) < _LONGEST_CHAIN:
        if below.name in images:
            return below.name
        visited.add(below.name)
        backing = _backing_name(pool, below)
        below = None if backing is None else await services.pools.listed_volume(pool, backing)
    return None


def _backing_name(pool: Pool, volume: Volume) -> VolumeName | None:
    """The name of the volume of its pool that a volume is an overlay of; None if of none."""
    path = volume.backing_path
    if path is None or path.parent != pool.path:
        return None
    try:
        return parse_volume_name(path.name)
    except InvalidArgument:
        # A header can contain any text. The pool has no volume of such a name.
        return None
