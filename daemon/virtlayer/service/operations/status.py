# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports the status of the configured images: versions, last update and errors."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from virtlayer.errors import VirtlayerError
from virtlayer.service.operations.configured import ConfiguredImage, configured_images
from virtlayer.service.operations.services import Services

_SECOND = 1_000_000
"""In microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """The status of one configured image.

    Attributes:
        file: Its file in images.d.
        pool: The pool; "" if the file is invalid.
        name: The name there; "" if unknown.
        source: The reference; "" if unknown.
        digest: The digest of the image in the pool; "" if it has no such image.
        pulled_at: When that was last pulled or confirmed, in microseconds since 1970; 0 for never.
        checked_at: When Populate last tried, in the same unit.
        due_at: When the refresh interval is over, in the same unit; 0 for now.
        versions: The number of former versions that are kept or in use.
        error: The name of the error of the last attempt or in the file; "" if none.
        message: The error message.
    """

    file: Path
    pool: str
    name: str
    source: str
    digest: str = ""
    pulled_at: int = 0
    checked_at: int = 0
    due_at: int = 0
    versions: int = 0
    error: str = ""
    message: str = ""


async def status(services: Services) -> tuple[ImageStatus, ...]:
    """Return the status of every configured image, by file name."""
    images = await asyncio.to_thread(configured_images, session=services.session)
    return tuple([await _status(services, image) for image in images])


async def _status(services: Services, image: ConfiguredImage) -> ImageStatus:
    plain = ImageStatus(file=image.file, pool=image.pool, name=image.name, source=image.source)
    if isinstance(image.request, VirtlayerError):
        return replace(plain, error=image.request.name, message=image.request.message)
    versions = await services.catalog.versions(image.pool, image.name)
    plain = replace(plain, versions=len(versions))
    if record := await services.catalog.get(image.pool, image.name):
        plain = replace(plain, digest=record.digest, pulled_at=record.pulled_at)
    if visit := await services.catalog.visit(image.pool, image.name):
        due_at = 0 if visit.error else visit.at + image.interval * _SECOND
        plain = replace(
            plain, checked_at=visit.at, due_at=due_at, error=visit.error, message=visit.message
        )
    return plain
