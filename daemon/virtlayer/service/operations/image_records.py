# SPDX-License-Identifier: LGPL-2.1-or-later
"""Assigns the name of an image to the pulled image, if that is allowed."""

import time

from virtlayer.errors import ImageNotFound
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.catalog.replacing import Replacing, check_replacing
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.services import Services
from virtlayer.service.records.former_versions import replaced
from virtlayer.service.records.owners import Owner
from virtlayer.service.records.values import ImageRecord, PulledImage


async def put_image(
    services: Services,
    claim: Claim,
    image: PulledImage,
    owners: frozenset[Owner],
    allowed: Replacing,
    *,
    keep: int | None = None,
) -> CatalogImage:
    """Record an image; it replaces an image of the same name.

    Args:
        services: The daemon's parts.
        claim: A claim on the volumes of the image.
        image: The image.
        owners: The owners of its config.
        allowed: How much it may replace. The image that had the name becomes a former version.
        keep: How many former versions are to be kept; None to keep those that are kept now.

    Returns:
        The image as the catalog has it.

    Raises:
        ImageExists: The name belongs to an image of another source, which may not be replaced.
        NotAuthorized: The name belongs to another version, which may not be replaced.
        VirtlayerError: The record cannot be written.
    """
    pool = claim.pool.name

    def replace(present: ImageRecord | None) -> ImageRecord:
        if present is not None:
            check_replacing(pool, present, image, allowed)
        return replaced(present, image, owners, time.time_ns() // 1000, keep=keep)

    await services.records.change_image(claim, image.name, replace)
    put = await services.catalog.get(pool, image.name)
    if put is None:
        raise ImageNotFound(
            f'Another host or process has just removed the image "{image.name}" from the pool '
            f'"{pool}". Pull it again.'
        )
    return put
