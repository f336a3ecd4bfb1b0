# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a writable volume on an image that a pool has; see ``volume_on_image``."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import ImageNotFound, VirtlayerError
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.protocol.pools import Volume
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.volume_on_image import check_name_is_free, create_on


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolumeRequest:
    """A request for a writable volume.

    Attributes:
        pool: The name of the pool.
        image: The name of the image in the pool.
        volume: The volume.
    """

    pool: PoolName
    image: ImageName
    volume: NewVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedVolume:
    """A volume that was made.

    Attributes:
        image: The number of its image in the catalog.
        volume: Its name.
        path: The path of its file.
        size: Its virtual size in bytes.
    """

    image: int
    volume: str
    path: Path
    size: int


async def create_volume(
    services: Services, request: CreateVolumeRequest, job: Job
) -> CreatedVolume:
    """Make a writable volume on an image of its pool.

    Raises:
        ImageNotFound: The pool has no image of that name.
        VolumeNotFound: The image's own volume no longer exists.
        VolumeExists: A volume in the pool has the name.
        InvalidArgument: The image does not allow the requested volume.
        VirtlayerError: It failed; the class says why. Nothing is left then.
    """
    image = await services.catalog.get(request.pool, request.image)
    async with _claimed(services, request, image) as claim:
        if image is None:
            image = await _present_image(services, claim, request)
        image, volume = await _created(services, claim, request, image, job)
    return CreatedVolume(image=image.id, volume=volume.name, path=volume.path, size=volume.capacity)


@contextlib.asynccontextmanager
async def _claimed(
    services: Services, request: CreateVolumeRequest, image: CatalogImage | None
) -> AsyncIterator[Claim]:
    """Claim the new volume, and the volume of the image if the catalog has the image."""
    name = request.volume.name
    if image is None:
        pool = await services.pools.get(request.pool)
        claiming = services.claims.claimed(pool, [name])
    else:
        claiming = services.claims.begun(request.pool, [name, image.volume], Purpose.VOLUME)
    async with claiming as claim:
        await services.sweeper.visit(claim.pool)
        yield claim


class _ImageChanged(Exception):
    """Another host has removed or replaced the image before it was claimed."""


async def _created(
    services: Services, claim: Claim, request: CreateVolumeRequest, image: CatalogImage, job: Job
) -> tuple[CatalogImage, Volume]:
    """Make the volume, and meanwhile read whether the image is still as the catalog has it.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the name and on the image's volume.
        request: What to make.
        image: The image as the catalog had it before the claim.
        job: The job.

    Returns:
        The image as it was when it was claimed, and the volume.

    Raises:
        ImageNotFound: The pool has no image of that name.
        VirtlayerError: See ``create_volume``.
    """

    async def confirm() -> None:
        if await _present_image(services, claim, request) != image:
            raise _ImageChanged

    while True:
        try:
            await claim.add([image.volume])
            return image, await create_on(
                services, claim, image, request.volume, job, confirm=confirm
            )
        except (VirtlayerError, _ImageChanged):
            # An error may be about an image that the pool no longer has.
            present = await _present_image(services, claim, request)
            if present == image:
                raise
            image = present


async def _present_image(
    services: Services, claim: Claim, request: CreateVolumeRequest
) -> CatalogImage:
    """Return the image as the records of the pool have it now.

    Raises:
        ImageNotFound: The pool has no image of that name.
        VolumeExists: There is no such image, and a volume has the name of the new one.
    """
    pool = claim.pool
    await services.records.synchronize(pool)
    record = await services.catalog.get(pool.name, request.image)
    if record is None:
        await check_name_is_free(services, pool, request.volume.name)
        raise ImageNotFound(
            f'The pool "{pool.name}" has no image "{request.image}". Pull it first; '
            '"virtlayer images" lists the images.'
        )
    return record


async def check_size(services: Services, request: CreateVolumeRequest) -> None:
    """Check the requested size against that of the image, if the catalog has the image.

    Raises:
        InvalidArgument: The requested size is smaller.
    """
    if request.volume.size is None:
        return
    record = await services.catalog.get(request.pool, request.image)
    if record is not None:
        _ = request.volume.size_on(record.size, record.name)
