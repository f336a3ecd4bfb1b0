# SPDX-License-Identifier: LGPL-2.1-or-later
"""Updates the configured images, a few at a time, and deletes old versions.

An unchanged image needs one request for its manifest and one for its config. A changed image is
pulled, and its name is then assigned to the new image in one transaction. Machines keep using the
old layers: the old image becomes a former version. It is deleted when it is not to be kept and
nothing uses it.
"""

import asyncio
import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from virtlayer.cancellation import first_failure
from virtlayer.errors import VirtlayerError
from virtlayer.service.catalog.catalog import Visit
from virtlayer.service.jobs.engine import defect
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.configured import ConfiguredImage, configured_images
from virtlayer.service.operations.layers import delete_layers, look_at_layers
from virtlayer.service.operations.outcome import Outcome
from virtlayer.service.operations.pull_chain import PullRequest, pull
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)

_SECOND = 1_000_000
"""In microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulateRequest:
    """A request to update images.

    Attributes:
        due: Only images whose refresh interval is over, or whose last attempt failed.
    """

    due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulatedImage:
    """The result for one configured image.

    Attributes:
        file: Its file in images.d.
        pool: The pool; "" if the file is invalid.
        name: The name there; "" if unknown.
        source: The reference; "" if unknown.
        outcome: The change.
        digest: Of the manifest; "" if there is no image.
        layers_built: The number of new layers.
        bytes_downloaded: Compressed bytes that came from the source.
        removed: The volumes of old versions that were deleted.
        error: The name of the error; "" if none.
        message: The error message. A failure to remove old versions is not an error of the image.
    """

    file: Path
    pool: str
    name: str
    source: str
    outcome: Outcome
    digest: str = ""
    layers_built: int = 0
    bytes_downloaded: int = 0
    removed: tuple[str, ...] = ()
    error: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Populated:
    """The results for all configured images."""

    images: tuple[PopulatedImage, ...]


async def populate(services: Services, request: PopulateRequest, job: Job) -> Populated:
    """Update every configured image. One that fails does not stop the others.

    The records of a pool are read once. To read them for each image would take time that grows
    with the square of the number of images.
    """
    began = asyncio.get_running_loop().time()
    images = await asyncio.to_thread(configured_images, session=services.session)
    # As many as jobs may run: an image that has changed is pulled, as by a job of its own.
    turns = asyncio.Semaphore(services.settings.jobs.running_limit)

    async def update(image: ConfiguredImage) -> PopulatedImage:
        async with turns:
            part = job.part(len(images))
            try:
                return await _brought_up_to_date(services, image, request, part, began)
            finally:
                part.report.finish(success=True)

    try:
        async with asyncio.TaskGroup() as group:
            updates = [group.create_task(update(image)) for image in images]
    except BaseExceptionGroup as errors:
        raise first_failure(errors) from errors
    return Populated(tuple(one.result() for one in updates))


async def _brought_up_to_date(
    services: Services, image: ConfiguredImage, request: PopulateRequest, job: Job, began: float
) -> PopulatedImage:
    if isinstance(image.request, VirtlayerError):
        return _failed(image, image.request)
    if request.due and not await _is_due(services, image):
        return _told(image, Outcome.NOT_DUE)
    try:
        populated = await _pulled(services, image, image.request, job, began)
    except VirtlayerError as error:
        populated = _failed(image, error)
    except Exception:  # an internal error with one image must not stop the others
        _log.exception("Job %d had an internal error with the image of %s.", job.id, image.file)
        populated = _failed(image, defect(f"job {job.id} ({image.file})"))
    await services.catalog.visited(
        Visit(
            pool=image.pool,
            name=image.name,
            at=_now(),
            error=populated.error,
            message=populated.message,
        )
    )
    return populated


async def _is_due(services: Services, image: ConfiguredImage) -> bool:
    visit = await services.catalog.visit(image.pool, image.name)
    if visit is None or visit.error:
        return True
    # A visit in the future was before the clock was set back, so it is ignored.
    return not visit.at <= _now() < visit.at + image.interval * _SECOND


async def _pulled(
    services: Services, image: ConfiguredImage, request: PullRequest, job: Job, began: float
) -> PopulatedImage:
    access = request.access.or_authfile(services.settings.registries.authfile)
    request = dataclasses.replace(request, access=access)
    result = await pull(services, request, job, records_since=began)
    removed, error, message = await _expired(services, image)
    return dataclasses.replace(
        _told(image, result.outcome),
        digest=result.digest,
        layers_built=result.layers_built,
        bytes_downloaded=result.bytes_downloaded,
        removed=removed,
        error=error,
        message=message,
    )


async def _expired(services: Services, image: ConfiguredImage) -> tuple[tuple[str, ...], str, str]:
    """Delete the layers that only expired versions have; the volumes, or error and message."""
    versions = await services.catalog.versions(image.pool, image.name)
    if all(version.kept for version in versions):
        return (), "", ""
    try:
        pool = await services.pools.get(image.pool)
        async with services.claims.locked(pool) as lock:
            await services.records.synchronize_locked(lock)
            layers = await look_at_layers(services, lock)
            expired = {
                volume
                for version in layers.versions
                if version.name == image.name and not version.kept
                for volume in version.volumes
            }
            doomed = layers.removable(expired, layers.needed() | lock.claimed)
            return (await delete_layers(services, lock, layers, doomed)).volumes, "", ""
    except VirtlayerError as error:
        return (), error.name, error.message


def _failed(image: ConfiguredImage, error: VirtlayerError) -> PopulatedImage:
    told = _told(image, Outcome.FAILED)
    return dataclasses.replace(told, error=error.name, message=error.message)


def _told(image: ConfiguredImage, outcome: Outcome) -> PopulatedImage:
    return PopulatedImage(
        file=image.file, pool=image.pool, name=image.name, source=image.source, outcome=outcome
    )


def _now() -> int:
    return time.time_ns() // 1000
