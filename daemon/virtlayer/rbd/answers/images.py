# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about images that have their names."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterable

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.boot_files import read_file
from virtlayer.rbd.deletion import delete_image
from virtlayer.rbd.images import describe, image_names
from virtlayer.rbd.records import delete_record
from virtlayer.rbd.unfinished import claim_of
from virtlayer.rbd.users import users_of

_AT_A_TIME = 8
"""Images of one request that are looked at at the same time."""


async def _find(turn: Turn, request: messages.FindImages) -> messages.RbdImages:
    cluster = turn.cluster
    names: Iterable[str] | None = request.names
    if names is None:
        names = await cluster.run(image_names, cluster.images)
    found = await _each(
        names, lambda name: cluster.run(describe, cluster.images, name, measure=request.measure)
    )
    return messages.RbdImages(tuple(one for one in found if one is not None))


async def _users(turn: Turn, request: messages.ImageNames) -> messages.ImageUsers:
    cluster = turn.cluster
    found = await _each(
        request.names, lambda name: cluster.run(users_of, cluster.images, name, layers=False)
    )
    users = dict(zip(request.names, found, strict=True))
    return messages.ImageUsers({name: used for name, used in users.items() if used})


async def _delete(turn: Turn, request: messages.DeleteImage) -> Nothing:
    cluster = turn.cluster
    lock = turn.holdings.claims.lock(request.lock)
    if claim_of(request.name) is not None:
        raise Internal("An unfinished image cannot be deleted.")

    def delete() -> None:
        lock.check()
        delete_image(cluster.images, request.name)
        delete_record(lock, request.record)

    await to_completion(cluster.run(delete))
    return Nothing()


async def _withdraw(turn: Turn, request: messages.ImageName) -> Nothing:
    cluster, placed = turn.cluster, turn.holdings.placed
    await to_completion(cluster.run(placed.withdraw, cluster.images, request.name))
    return Nothing()


async def _read(turn: Turn, request: messages.ImageName) -> messages.FileLength:
    output = _received_file(turn)
    cluster = turn.cluster
    return messages.FileLength(await cluster.run(read_file, cluster.images, request.name, output))


def _received_file(turn: Turn) -> OwnedDescriptor:
    """The empty file that came with a request; a thread may use it for longer than the request."""
    if len(turn.descriptors) != 1:
        raise Internal("The bytes of an image need one file.")
    status = os.fstat(turn.descriptors[0])
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        raise Internal("The bytes of an image need an empty file.")
    return OwnedDescriptor(turn.descriptors.pop())


async def _each[T](names: Iterable[str], find: Callable[[str], Awaitable[T]]) -> list[T]:
    """Find something out about images, for several at the same time."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def found(name: str) -> T:
        async with places:
            return await find(name)

    return await asyncio.gather(*(found(name) for name in names))


ANSWERS = (
    answer(messages.FIND_IMAGES, _find),
    answer(messages.USERS, _users),
    answer(messages.DELETE, _delete),
    answer(messages.WITHDRAW, _withdraw),
    answer(messages.READ_FILE, _read, takes_descriptors=True),
)
