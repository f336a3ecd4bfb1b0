# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gives an image of a pool another name. Nothing is downloaded or built."""

import dataclasses
from dataclasses import dataclass

from virtlayer.errors import ImageExists, ImageNotFound
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.catalog.replacing import Replacing
from virtlayer.service.operations.image_records import put_image
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRequest:
    """A request to give an image another name.

    Attributes:
        pool: The name of the pool.
        image: The name of the image in the pool.
        name: The other name.
        replace: Whether that name may be taken from another image.
    """

    pool: PoolName
    image: ImageName
    name: ImageName
    replace: bool = False


async def tag_image(services: Services, request: TagRequest) -> None:
    """Assign another name to an image, too.

    Raises:
        ImageNotFound: The pool has no image of that name.
        ImageExists: The other name belongs to another image, which is not to be replaced.
        VirtlayerError: The pool does not exist or cannot be used.
    """
    pool = await services.pools.get(request.pool)
    await services.records.synchronize(pool)
    image = await _image(services, request)
    async with services.claims.claimed(pool, image.volumes) as claim:
        # A removal before the claim may have deleted it.
        image = await _image(services, request)
        present = await services.catalog.get(request.pool, request.name)
        if present is not None and _is_same(present, image):
            return
        if present is not None and not request.replace:
            raise ImageExists(
                f'The pool "{request.pool}" has another image "{request.name}". Choose another '
                "name, or use --replace to give this name to the image "
                f'"{request.image}".'
            )
        await put_image(
            services,
            claim,
            dataclasses.replace(image, name=request.name),
            await services.catalog.owners.of(image.image_id, pool.name),
            Replacing.SOURCES if request.replace else Replacing.NOTHING,
        )


async def _image(services: Services, request: TagRequest) -> CatalogImage:
    image = await services.catalog.get(request.pool, request.image)
    if image is None:
        raise ImageNotFound(
            f'The pool "{request.pool}" has no image "{request.image}". "virtlayer images" lists '
            "the images of all pools."
        )
    return image


def _is_same(one: CatalogImage, other: CatalogImage) -> bool:
    return (one.source, one.digest, one.volume) == (other.source, other.digest, other.volume)
