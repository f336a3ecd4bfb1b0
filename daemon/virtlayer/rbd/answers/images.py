# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about images that have their names."""

import asyncio
import itertools
import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.rbd_names import claim_of
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.boot_files import read_file
from virtlayer.rbd.deletion import delete_image
from virtlayer.rbd.directory import all_ids, ids_of
from virtlayer.rbd.headers import describe_by_headers
from virtlayer.rbd.images import allocation
from virtlayer.rbd.records import delete_record
from virtlayer.rbd.users import users_of

_AT_A_TIME = 8
"""Threads of one request."""
_PART = 100
"""Images that one call describes."""


async def _find(turn: Turn, request: messages.FindImages) -> messages.RbdImages:
    cluster = turn.cluster
    if request.names is None:
        ids = await cluster.run(all_ids, cluster.images)
    else:
        ids = await cluster.run(ids_of, cluster.images, request.names)
    names = sorted(name for name in ids if claim_of(name) is None)
    parts = await _each(
        itertools.batched(names, _PART),
        lambda some: cluster.run(describe_by_headers, cluster.images, some, ids, cluster.pool_id),
    )
    found = tuple(itertools.chain.from_iterable(parts))
    if request.measure:
        found = await _measured(turn, found)
    return messages.RbdImages(found)


async def _measured(
    turn: Turn, found: tuple[messages.RbdImage, ...]
) -> tuple[messages.RbdImage, ...]:
    cluster = turn.cluster
    allocations = await _each(
        found, lambda image: cluster.run(allocation, cluster.images, image.name)
    )
    return tuple(
        replace(image, allocation=size) for image, size in zip(found, allocations, strict=True)
    )


async def _users(turn: Turn, request: messages.ImageNames) -> messages.ImageUsers:
    cluster = turn.cluster
    found = await _each(
        request.names, lambda name: cluster.run(users_of, cluster.images, name, layers=False)
    )
    users = dict(zip(request.names, found, strict=True))
    return messages.ImageUsers({name: used for name, used in users.items() if used})


async def _delete(turn: Turn, request: messages.DeleteImage) -> Nothing:
    cluster = turn.cluster
    claims = turn.holdings.claims
    lock = claims.lock(request.lock)
    if claim_of(request.name) is not None:
        raise Internal("An unfinished image cannot be deleted.")

    def delete() -> None:
        with claims.lease.certain():
            delete_image(cluster.images, request.name, lock.name, lock.check)
        delete_record(lock, request.record)

    await to_completion(cluster.run(delete))
    return Nothing()


async def _withdraw(turn: Turn, request: messages.ImageName) -> Nothing:
    cluster, placed = turn.cluster, turn.holdings.placed
    await to_completion(cluster.run(placed.withdraw, cluster.images, request.name))
    return Nothing()


async def _read(turn: Turn, request: messages.ImageName) -> Nothing:
    output = _received_file(turn)
    cluster = turn.cluster
    await cluster.run(read_file, cluster.images, request.name, output)
    return Nothing()


def _received_file(turn: Turn) -> OwnedDescriptor:
    """The empty file that came with a request; a thread may use it for longer than the request."""
    if len(turn.descriptors) != 1:
        raise Internal("The bytes of an image need one file.")
    status = os.fstat(turn.descriptors[0])
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        raise Internal("The bytes of an image need an empty file.")
    return OwnedDescriptor(turn.descriptors.pop())


async def _each[N, T](names: Iterable[N], find: Callable[[N], Awaitable[T]]) -> list[T]:
    """Find something out about images, for several at the same time."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def found(name: N) -> T:
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
