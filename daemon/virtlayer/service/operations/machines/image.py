# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the image, disk or directory that a machine is made of."""

import asyncio

from virtlayer.errors import ImageNotFound, InvalidArgument, Unsupported
from virtlayer.protocol.names import ImageName
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogImage, CatalogVolume
from virtlayer.service.operations.list_volumes import made_volumes
from virtlayer.service.operations.services import Services
from virtlayer.service.records.fields import NO_CONFIG
from virtlayer.service.source.container_disk import says_container_disk
from virtlayer.service.source.image import parse_config
from virtlayer.service.source.platform import Platform, host_platform

type MachineImage = CatalogImage | CatalogVolume
"""An image with a chain; or a disk or directory that was made of an image."""


async def machine_image(
    services: Services, pool: Pool, name: ImageName, *, container: bool
) -> MachineImage:
    """Find what a machine or container is made of.

    Args:
        services: The daemon's parts.
        pool: The pool, whose records the catalog has.
        name: The name of an image, or of a disk or directory.
        container: Whether it is for a container, which runs in a directory.

    Raises:
        ImageNotFound: The pool has nothing of that name.
        InvalidArgument: Several disks or directories were made of that image, or the image cannot
            be used in this way.
        Unsupported: The image is for another platform than this host.
    """
    image = None if container else await services.catalog.get(pool.name, name)
    found = image or await _made_of(services, pool, name, container=container)
    await asyncio.to_thread(_check, found)
    return found


def container_disk(name: str) -> InvalidArgument:
    """The error for an image with the disk of a machine that was pulled as a file system."""
    return InvalidArgument(
        f'The image "{name}" contains the disk of a machine. Pull it with --format=disk, and name '
        "the disk."
    )


async def _made_of(
    services: Services, pool: Pool, name: ImageName, *, container: bool
) -> CatalogVolume:
    kind = RecordKind.DIRECTORY if container else RecordKind.DISK
    volumes = await made_volumes(services, pool)
    found = [one for one in volumes if one.kind is kind and name in (one.name, one.image)]
    found = [one for one in found if one.name == name] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidArgument(
            f'The pool "{pool.name}" has several volumes of the image "{name}": '
            f"{', '.join(one.name for one in found)}. Name one of them."
        )
    if container:
        raise ImageNotFound(
            f'The pool "{pool.name}" has no directory of an image "{name}". Pull the image with '
            '--format=dir --id-map=auto first; "virtlayer volumes" lists the directories.'
        )
    raise ImageNotFound(
        f'The pool "{pool.name}" has no image "{name}". Pull it first, or name its source, such as '
        'docker://docker.io/library/debian:13; "virtlayer images" lists the images.'
    )


def _check(image: MachineImage) -> None:
    platform = _platform(image)
    if platform is not None and platform.is_foreign:
        raise Unsupported(
            f'The image "{image.name}" is for {platform}, and this host is {host_platform()}. '
            f"Pull the image with --platform={host_platform()}."
        )
    if isinstance(image, CatalogImage):
        if says_container_disk(image.config):
            raise container_disk(image.name)
    elif image.kind is RecordKind.DIRECTORY and image.id_base is None:
        raise InvalidArgument(
            f'The IDs of the directory "{image.name}" are not mapped, so root of a container would '
            "be root of the host. Pull the image with --format=dir --id-map=auto."
        )


def _platform(image: MachineImage) -> Platform | None:
    """Return the platform; None for an artifact, which has none."""
    if isinstance(image, CatalogImage):
        return Platform(image.os, image.architecture, image.variant or None)
    if image.config == NO_CONFIG:
        return None
    config = parse_config(image.config.encode())
    return Platform(config.os, config.architecture, config.variant)
