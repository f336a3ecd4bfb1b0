# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes an image from a pool, with the layers that nothing else needs."""

from dataclasses import dataclass

from virtlayer.errors import ImageNotFound, InUse
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.protocol.records import RecordKind
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.layers import (
    Freed,
    PoolLayers,
    delete_layers,
    look_at_layers,
)
from virtlayer.service.operations.services import Services

_USERS_NAMED = 10
"""A longer list would make the message hard to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRequest:
    """A request to remove an image.

    Attributes:
        pool: The name of the pool.
        image: The name of the image in the pool.
    """

    pool: PoolName
    image: ImageName


async def remove(services: Services, request: RemoveRequest, _job: Job) -> Freed:
    """Forget an image and its former versions, and delete the layers that nothing else needs.

    Layers of former versions that machines still use are kept; prune deletes them later.

    Raises:
        ImageNotFound: The pool has no image of that name.
        InUse: Something uses a layer that only this image has; the message names it.
        VirtlayerError: The pool cannot be read, or a volume cannot be deleted. In the second case
            the image is forgotten, and prune deletes what is left.
    """
    pool = await services.pools.get(request.pool)
    async with services.claims.locked(pool) as lock:
        await services.records.synchronize_locked(lock)
        image = await services.catalog.get(pool.name, request.image)
        if image is None:
            raise ImageNotFound(
                f'The pool "{pool.name}" has no image "{request.image}". "virtlayer images" lists '
                "the images."
            )
        layers = await look_at_layers(services, lock)
        needed = layers.needed(but_for=image.name) | lock.claimed
        own = layers.with_backing(image.volumes) - layers.with_backing(needed)
        _refuse_if_used(layers, image.name, own)
        await services.records.delete(lock, RecordKind.IMAGE, image.name)
        await services.catalog.forget_visit(pool.name, image.name)
        former = [one.volumes for one in layers.versions if one.name == image.name]
        doomed = layers.removable(own.union(*former), needed)
        return await delete_layers(services, lock, layers, doomed)


def _refuse_if_used(layers: PoolLayers, image: str, own: set[str]) -> None:
    users = sorted({user for name in own for user in layers.usage.users.get(name, ())})
    if not users:
        return
    named = users[:_USERS_NAMED]
    if len(users) > len(named):
        named.append(f"{len(users) - len(named)} more")
    *most, last = named
    text = f"{', '.join(most)} and {last}" if most else last
    raise InUse(
        f'The image "{image}" in the pool "{layers.pool.name}" is used by {text}. Delete or change '
        "them first."
    )
