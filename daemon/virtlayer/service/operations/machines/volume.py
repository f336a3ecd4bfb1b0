# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the volume of a machine: an overlay of its image or disk; a container has its directory."""

import contextlib
import functools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from virtlayer.cancellation import to_completion
from virtlayer.errors import InUse, VolumeNotFound
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Volume
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogImage, CatalogVolume
from virtlayer.service.chain.writable import WritableRequest, build_writable
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.customizer import CustomizerOnDemand
from virtlayer.service.operations.machines.image import MachineImage
from virtlayer.service.operations.machines.ownership import release_directory
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.placing import RecordedPlacing
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.volume_on_image import check_name_is_free, created_on
from virtlayer.service.records.values import Machine, VolumeRecord


def machine_volume(
    services: Services,
    claim: Claim,
    image: MachineImage,
    wanted: NewVolume,
    machine: Machine,
    job: Job,
) -> AbstractAsyncContextManager[Volume]:
    """Make the volume of a machine, and record that it belongs to the machine.

    It is removed again if the context is left with an error; a directory is only released.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the image and on the name of the volume.
        image: The image, disk or directory that the machine is made of.
        wanted: The name, size and customization.
        machine: The machine.
        job: The job.

    Raises:
        InUse: Another container has the directory.
        VirtlayerError: It failed; the class says why.
    """
    match image:
        case CatalogImage():
            return created_on(services, claim, image, wanted, job, machine)
        case CatalogVolume(kind=RecordKind.DIRECTORY):
            return _taken_directory(services, claim, image, machine)
        case CatalogVolume():
            return _overlay_of_disk(services, claim, image, wanted, machine, job)


@contextlib.asynccontextmanager
async def _overlay_of_disk(
    services: Services,
    claim: Claim,
    disk: CatalogVolume,
    wanted: NewVolume,
    machine: Machine,
    job: Job,
) -> AsyncIterator[Volume]:
    base = await _present(services, claim, disk)
    record = VolumeRecord(
        kind=RecordKind.VOLUME,
        name=wanted.name,
        image=disk.image,
        source=disk.source,
        digest=disk.digest,
        config=disk.config,
        disk=disk.name,
        pulled_by=disk.pulled_by,
        machine=machine,
    )
    async with RecordedPlacing(services.records, claim.pool, record) as placing:
        async with CustomizerOnDemand(
            services.keeper.programs, services.settings.layer, fresh_identity=False
        ) as customizer:
            volume = await build_writable(
                services.keeper,
                WritableRequest(
                    claim=claim,
                    name=wanted.name,
                    backing=disk.name,
                    chain=(disk.name,),
                    size=wanted.size_on(base.capacity, disk.name),
                    customization=Customization(),
                    image=disk.image,
                ),
                customizer,
                placing,
                check=functools.partial(check_name_is_free, services, claim.pool, wanted.name),
                on_registering=lambda: job.report.set_stage(Stage.REGISTERING),
            )
        yield volume


@contextlib.asynccontextmanager
async def _taken_directory(
    services: Services, claim: Claim, directory: CatalogVolume, machine: Machine
) -> AsyncIterator[Volume]:
    volume = await _present(services, claim, directory)
    former = directory.machine
    if former is not None and await _exists(services, former, machine.host):
        raise InUse(
            f'The directory "{directory.name}" belongs to another container. Remove that first, or '
            "pull the image into another directory, with --volume=NAME."
        )

    def take(record: VolumeRecord | None) -> VolumeRecord | None:
        if record is not None and record.machine != former:
            raise InUse(f'Another job makes a container of the directory "{directory.name}" now.')
        return record and replace(record, machine=machine)

    await services.records.change_volume(claim, RecordKind.DIRECTORY, directory.name, take)
    try:
        yield volume
    except BaseException:
        await to_completion(release_directory(services, claim, directory.name, machine))
        raise


async def _present(services: Services, claim: Claim, made: CatalogVolume) -> Volume:
    """Return a disk or directory as libvirt lists it.

    Raises:
        VolumeNotFound: The pool does not have it.
    """
    volume = await services.pools.volume(claim.pool, made.name)
    if volume is None:
        raise VolumeNotFound(
            f'The pool "{claim.pool.name}" has no {made.kind} "{made.name}". Pull the image again.'
        )
    return volume


async def _exists(services: Services, machine: Machine, host: str) -> bool:
    """Whether a machine exists; those of other hosts count as existing."""
    if machine.host != host:
        return True
    known = await services.keeper.domains.list()
    return any(domain.uuid == machine.domain for domain in known.domains)
