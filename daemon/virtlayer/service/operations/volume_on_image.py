# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a writable volume on an image: an overlay, with its customization."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine

from virtlayer.errors import VolumeExists
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

type Confirm = Callable[[], Coroutine[object, object, None]]
"""Raises an exception if an image is no longer what the caller took it for."""


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


async def _confirmed() -> None:
    """The image was read after its volumes were claimed."""


async def create_on(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    wanted: NewVolume,
    job: Job,
    *,
    confirm: Confirm = _confirmed,
) -> Volume:
    """Make a volume on an image whose volumes are claimed.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the image and the name.
        image: The image.
        wanted: The volume.
        job: The job.
        confirm: Called while the volume is made; its exceptions end that.

    Raises:
        VirtlayerError: See ``create_volume``.
    """
    async with created_on(services, claim, image, wanted, job, confirm=confirm) as volume:
        return volume


@contextlib.asynccontextmanager
async def created_on(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    wanted: NewVolume,
    job: Job,
    machine: Machine | None = None,
    *,
    confirm: Confirm = _confirmed,
) -> AsyncIterator[Volume]:
    """Make a volume on an image; it is removed again if the context is left with an error.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the image and the name.
        image: The image.
        wanted: The volume.
        job: The job.
        machine: The machine that it belongs to; None for none.
        confirm: See ``create_on``.

    Raises:
        VirtlayerError: See ``create_volume``.
    """
    record = _record(image, wanted, machine)
    async with RecordedPlacing(services.records, claim.pool, record) as placing:
        yield await _placed_on(services, claim, image, wanted, job, placing, confirm)


async def _placed_on(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    wanted: NewVolume,
    job: Job,
    placing: RecordedPlacing,
    confirm: Confirm,
) -> Volume:
    async def check() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(confirm())
            group.create_task(_check_volumes(services, claim.pool, image, wanted.name))

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
            check=check,
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
