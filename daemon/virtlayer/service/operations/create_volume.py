# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a writable volume on an image: an overlay, with its customization."""

import contextlib
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.cancellation import meanwhile
from virtlayer.errors import ImageNotFound, VolumeExists
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.rbd_names import check_new_image
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.chain.writable import WritableRequest, build_writable
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.customizer import CustomizerOnDemand
from virtlayer.service.operations.layer_records import record_identity
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.placing import RecordedPlacing
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.wholeness import check_whole
from virtlayer.service.records.values import Machine, VolumeRecord


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
    async with meanwhile(services.catalog.get(request.pool, request.image)) as looking_up:
        pool = await services.pools.get(request.pool)
        await services.sweeper.visit(pool)
        record = await looking_up
    names: list[str] = [request.volume.name]
    if record is not None:
        names.append(record.volume)
    async with services.claims.claimed(pool, names) as claim:
        record = await _claimed_image(services, claim, request, record)
        volume = await create_on(services, claim, record, request.volume, job)
    return CreatedVolume(
        image=record.id, volume=volume.name, path=volume.path, size=volume.capacity
    )


async def _claimed_image(
    services: Services, claim: Claim, request: CreateVolumeRequest, before: CatalogImage | None
) -> CatalogImage:
    """Return the image, which any host may have removed or replaced before the claim.

    Args:
        services: The daemon's parts.
        claim: The claim of the job; the image's volume is added to it.
        request: Names the image.
        before: The image as the catalog had it; its volume is claimed.

    Raises:
        ImageNotFound: The pool has no image of that name.
        VolumeExists: There is no such image, and a volume has the name of the new one.
    """
    pool = claim.pool
    while True:
        await services.records.synchronize(pool)
        record = await services.catalog.get(pool.name, request.image)
        if record is None:
            await check_name_is_free(services, pool, request.volume.name)
            raise ImageNotFound(
                f'The pool "{pool.name}" has no image "{request.image}". Pull it first; '
                '"virtlayer images" lists the images.'
            )
        if before is not None and record.volume == before.volume:
            return record
        await claim.add([record.volume])
        before = record


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


async def check_name_is_free(services: Services, pool: Pool, name: str) -> None:
    """Check that a new volume can have a name.

    Raises:
        InvalidArgument: Volumes in such a pool cannot be called so.
        VolumeExists: A volume has the name.
    """
    if pool.is_rbd:
        check_new_image(name)
    if await services.pools.volume(pool, name) is not None:
        raise _taken(pool, name)


async def create_on(
    services: Services, claim: Claim, image: CatalogImage, wanted: NewVolume, job: Job
) -> Volume:
    """Make a volume on an image whose volumes are claimed.

    Raises:
        VirtlayerError: See ``create_volume``.
    """
    async with created_on(services, claim, image, wanted, job) as volume:
        return volume


@contextlib.asynccontextmanager
async def created_on(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    wanted: NewVolume,
    job: Job,
    machine: Machine | None = None,
) -> AsyncIterator[Volume]:
    """Make a volume on an image; it is removed again if the context is left with an error.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the image and the name.
        image: The image.
        wanted: The volume.
        job: The job.
        machine: The machine that it belongs to; None for none.

    Raises:
        VirtlayerError: See ``create_volume``.
    """
    record = _record(image, wanted, machine)
    async with RecordedPlacing(services.records, claim.pool, record) as placing:
        yield await _placed_on(services, claim, image, wanted, job, placing)


async def _placed_on(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    wanted: NewVolume,
    job: Job,
    placing: RecordedPlacing,
) -> Volume:
    size = wanted.size_on(image.size, image.name)
    customization = await wanted.customization(size, identity=image.identity)
    fresh_identity = customization.fresh_identity
    async with CustomizerOnDemand(
        services.keeper.programs, services.settings.layer, fresh_identity=fresh_identity
    ) as customizer:
        if customization:
            customizer.prepare()
            job.report.set_stage(Stage.CUSTOMIZING)
        volume = await build_writable(
            services.keeper,
            WritableRequest(
                claim=claim,
                name=wanted.name,
                backing=image.volume,
                chain=image.volumes,
                size=size,
                customization=customization,
                image=image.name,
            ),
            customizer,
            placing,
            check=functools.partial(_check_volumes, services, claim.pool, image, wanted.name),
            on_registering=lambda: job.report.set_stage(Stage.REGISTERING),
        )
        if fresh_identity and image.identity is None:
            found = customizer.replaced_identity
            await record_identity(services.records, claim, image.volume, identity=found)
        return volume


async def _check_volumes(services: Services, pool: Pool, image: CatalogImage, name: str) -> None:
    """Check that a pool has the volumes of an image, and no volume of the new name.

    Raises:
        VolumeExists: A volume has the new name, or a volume of the image is not a layer.
        VolumeNotFound: It does not have all of the image's volumes.
    """
    there = await services.pools.volumes(pool, [name, image.volume])
    if name in there:
        raise _taken(pool, name)
    await check_whole(services.pools, services.libvirt_uri, pool, image, there.get(image.volume))


def _record(image: CatalogImage, wanted: NewVolume, machine: Machine | None) -> VolumeRecord:
    return VolumeRecord(
        kind=RecordKind.VOLUME,
        name=wanted.name,
        image=image.name,
        source=image.source,
        digest=image.digest,
        config=image.config,
        top=image.volume,
        pulled_by=image.pulled_by,
        machine=machine,
    )


def _taken(pool: Pool, name: str) -> VolumeExists:
    return VolumeExists(
        f'The pool "{pool.name}" already has a volume "{name}". Choose another name, or delete '
        "that volume."
    )
