# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tells what a volume is: its file, and the image that it stands on."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import VolumeNotFound
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDescription:
    """What there is to know of a volume.

    Attributes:
        path: Its file or directory.
        format: Such as qcow2, or dir.
        layer: Whether it is a layer, which nobody writes to.
        image: The name of the image that it stands on, is, or was made of; "" if none is known.
        digest: Of that image's manifest; likewise.
        config: That image's OCI config, JSON; likewise. Of the version that it stands on, even
            if the name means a newer one by now.
        disk: Whether it is a machine's whole disk out of an image, which boots by itself.
    """

    path: Path
    format: str
    layer: bool
    image: str = ""
    digest: str = ""
    config: str = ""
    disk: bool = False


async def describe_volume(services: Services, pool_name: str, name: str) -> VolumeDescription:
    """Look at a volume and at what it stands on.

    Raises:
        VolumeNotFound: The pool has no volume of that name.
        VirtlayerError: libvirt cannot look at the pool.
    """
    pool = await services.pools.get(pool_name)
    volume = await services.pools.volume(pool, name)
    if volume is None:
        raise VolumeNotFound(
            f"The pool “{pool_name}” has no volume “{name}”. "
            f"`virsh vol-list {pool_name}` lists those there are."
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
    below: Volume | None = volume
    while below is not None and below.name not in images:
        below = await _backing(services, pool, below)
    is_disk = False
    if below is not None:
        image, digest, config = images[below.name]
    else:
        image, digest, config = await _origin(services, pool, volume)
        is_disk = bool(digest) and volume.format != "dir"
    return VolumeDescription(
        path=volume.path,
        format=volume.format,
        layer=is_layer_volume(volume.name),
        image=image,
        digest=digest,
        config=config,
        disk=is_disk,
    )


async def _origin(services: Services, pool: Pool, volume: Volume) -> tuple[str, str, str]:
    """Name, digest and config of the image that a volume without a chain was made of."""
    origin = await services.catalog.origin(pool.name, volume.name)
    with contextlib.suppress(OSError):
        if origin and origin.inode == (await asyncio.to_thread(volume.path.lstat)).st_ino:
            return origin.image, origin.digest, origin.config
    return "", "", ""


async def _backing(services: Services, pool: Pool, volume: Volume) -> Volume | None:
    path = volume.backing_path
    if path is None or path.parent != pool.path:
        return None
    return await services.pools.volume(pool, path.name)
