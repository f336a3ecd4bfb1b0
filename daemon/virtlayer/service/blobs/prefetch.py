# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blobs that are fetched ahead of their use, and held until it is over.

The layers of a chain are applied one after the other. While one is applied, the blobs of the next
ones are downloaded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from virtlayer.cancellation import first_failure
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.source.image import Layer

type Fetch = Callable[[Layer], AbstractAsyncContextManager[GrowingBlob]]
"""Gives a layer's blob, which may still be arriving, for as long as the context lasts."""

_DOWNLOADS = 3
"""Blobs that are downloaded at a time: one through the proxy does not fill a fast network."""


class Prefetched:
    """A blob that is fetched ahead and held until its layer is applied.

    Attributes:
        layer: Whose it is.
        blob: Set as soon as some of it may be there.
        used: Set by its user when it is no longer needed.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.blob: asyncio.Future[GrowingBlob] = asyncio.get_running_loop().create_future()
        self.used = asyncio.Event()

    @property
    def is_here(self) -> bool:
        """Whether all of it is here."""
        return self.blob.done() and self.blob.result().is_over

    async def begun(self) -> GrowingBlob:
        """Wait until some of it may be there. A wait can be cancelled and repeated."""
        return await asyncio.shield(self.blob)

    async def verified(self) -> int:
        """Wait until all of it is there, and its digest right.

        Returns:
            Its descriptor, at offset 0.

        Raises:
            VirtlayerError: It cannot be downloaded, or is something else.
        """
        blob = await self.begun()
        await blob.verified()
        return blob.descriptor


class Prefetching:
    """Fetches blobs in the order in which they are asked for.

    Args:
        fetch: Gets one.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._downloads = asyncio.Semaphore(_DOWNLOADS)

    async def hold(self, prefetched: Prefetched) -> None:
        """Get a blob, and hold it until it was used.

        Raises:
            VirtlayerError: It cannot be downloaded, or is something else.
        """
        async with AsyncExitStack() as stack:
            async with self._downloads:
                blob = await stack.enter_async_context(self._fetch(prefetched.layer))
                prefetched.blob.set_result(blob)
                await blob.verified()
            await prefetched.used.wait()


@contextlib.asynccontextmanager
async def prefetched_blobs(
    layers: Iterable[Layer], fetch: Fetch
) -> AsyncIterator[tuple[Prefetched, ...]]:
    """Fetch the blobs of all these layers, in this order.

    Raises:
        VirtlayerError: What ``fetch`` raises, also while the caller works on a blob.
    """
    prefetching = Prefetching(fetch)
    try:
        async with asyncio.TaskGroup() as group:
            blobs = tuple(map(Prefetched, layers))
            for blob in blobs:
                group.create_task(prefetching.hold(blob))
            yield blobs
    except BaseExceptionGroup as failures:
        raise first_failure(failures) from failures
