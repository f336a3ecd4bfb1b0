# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fetches blobs before they are needed, and holds them until they were used.

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
"""Provides a layer's blob, possibly incomplete, for as long as the context lasts."""

_DOWNLOADS = 3
"""The number of concurrent downloads: one through the proxy does not fill a fast network."""


class Prefetched:
    """A blob that is fetched ahead and held until its layer is applied.

    Attributes:
        layer: The layer of the blob.
        blob: Set as soon as a part of the blob may be readable.
        used: Set by the user of the blob when it is no longer needed.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.blob: asyncio.Future[GrowingBlob] = asyncio.get_running_loop().create_future()
        self.used = asyncio.Event()

    @property
    def is_here(self) -> bool:
        """Return whether the blob is complete."""
        return self.blob.done() and self.blob.result().is_over

    async def begun(self) -> GrowingBlob:
        """Wait until a part may be readable. The wait can be cancelled and repeated."""
        return await asyncio.shield(self.blob)

    async def verified(self) -> int:
        """Wait until the blob is complete and its digest is verified.

        Returns:
            The descriptor of the blob, at offset 0.

        Raises:
            VirtlayerError: It cannot be downloaded, or does not match its digest.
        """
        blob = await self.begun()
        await blob.verified()
        return blob.descriptor


class Prefetching:
    """Fetches blobs in the order in which they are requested.

    Args:
        fetch: Fetches one blob.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._downloads = asyncio.Semaphore(_DOWNLOADS)

    async def hold(self, prefetched: Prefetched) -> None:
        """Fetch a blob, and hold it until it was used.

        Raises:
            VirtlayerError: It cannot be downloaded, or does not match its digest.
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
        VirtlayerError: The error of ``fetch``, also while the caller works on a blob.
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
