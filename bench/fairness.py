# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls of different images at the same time, and small pulls beside a large one."""

import asyncio
import contextlib
import dataclasses
import itertools
import statistics
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from bench.inputs import Image
from bench.ours import Ended, Installation, Machine
from bench.result import Finished
from virtlayer.client.bus.caller import Client

_LARGE_POOLS = 8
"""Each pull of the large image goes into another pool."""
_HEAD_START = 0.3
"""Seconds: the large pull is at work then, not still asking the registry."""


class Several:
    """Pulls of several images into one pool; the time is that of all.

    Args:
        machine: Where it runs.
        more: The other images.
        at_once: Whether they begin at the same time, and not each when the one before has ended.
    """

    def __init__(self, machine: Machine, more: Sequence[Image], *, at_once: bool) -> None:
        self._machine = machine
        self._more = more
        self._at_once = at_once

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull all images."""
        images = [image, *self._more]
        with self._machine.installed(directory) as installation:
            pulls = asyncio.run(_pulled_all(installation, images, at_once=self._at_once))
            seconds = (pull.seconds for pull in pulls)
            yield _all_of(images, pulls, max(seconds) if self._at_once else sum(seconds))


class Tiny:
    """Pulls of small images; the time is the median from a call to its result.

    Args:
        machine: Where it runs.
        more: The other small images.
        beside: An image that is pulled all the time, into one new pool after the other; None for
            none.
        at_once: Whether one caller starts them all at the same time, and not each when the one
            before has ended.
    """

    def __init__(
        self, machine: Machine, more: Sequence[Image], *, beside: Image | None, at_once: bool
    ) -> None:
        self._machine = machine
        self._more = more
        self._beside = beside
        self._at_once = at_once

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull the small images."""
        images = [image, *self._more]
        with self._machine.installed(directory, pools=1 + _LARGE_POOLS) as installation:
            pulls = asyncio.run(self._pull(installation, images))
            finished = _all_of(images, pulls, statistics.median(one.seconds for one in pulls))
            yield dataclasses.replace(finished, parts={"last": max(p.seconds for p in pulls)})

    async def _pull(self, installation: Installation, images: Sequence[Image]) -> list[Ended]:
        async with self._load(installation):
            return await _pulled_all(installation, images, at_once=self._at_once)

    @contextlib.asynccontextmanager
    async def _load(self, installation: Installation) -> AsyncIterator[None]:
        if self._beside is None:
            yield
            return
        pulling = asyncio.create_task(_pull_on_and_on(installation, self._beside))
        await asyncio.sleep(_HEAD_START)
        try:
            yield
            assert not pulling.done(), "the large pulls ended before the small ones"
        finally:
            pulling.cancel()
            await asyncio.wait([pulling])


async def _pull_on_and_on(installation: Installation, image: Image) -> None:
    for pool in itertools.islice(installation.pools, 1, None):
        await _pulled(installation, image, pool=pool, cache=False)


async def _pulled_all(
    installation: Installation, images: Sequence[Image], *, at_once: bool
) -> list[Ended]:
    if at_once:
        return await _pulled_at_once(installation, images)
    return [await _pulled(installation, image) for image in images]


async def _pulled_at_once(installation: Installation, images: Sequence[Image]) -> list[Ended]:
    async with contextlib.AsyncExitStack() as connections:
        clients = [
            await connections.enter_async_context(Client.connected(session=True)) for _ in images
        ]
        return await asyncio.gather(
            *(
                installation.pulled(client, installation.inputs.reference(image))
                for client, image in zip(clients, images, strict=True)
            )
        )


async def _pulled(
    installation: Installation, image: Image, *, pool: str | None = None, cache: bool = True
) -> Ended:
    async with Client.connected(session=True) as client:
        source = installation.inputs.reference(image)
        return await installation.pulled(client, source, pool=pool, cache=cache)


def _all_of(images: Sequence[Image], pulls: Sequence[Ended], seconds: float) -> Finished:
    first, *others = (pull.finished() for pull in pulls)
    return dataclasses.replace(
        first,
        seconds=seconds,
        size=sum(one.size for one in (first, *others)),
        further=tuple(zip(images[1:], others, strict=True)),
    )
