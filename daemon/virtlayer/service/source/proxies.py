# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proxies of one source, and the blob streams that they deliver.

A proxy streams one blob at a time (see ``proxy``), so each concurrent blob needs its own proxy.
The first proxy opens the reference; the others open the reference given to ``open_further``. The
start of skopeo takes half of the time of a pull that finds nothing new. The first proxy can
therefore be started before it is known whether requests to it are permitted.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.errors import DigestMismatch, RegistryUnavailable
from virtlayer.service.source.command import Skopeo
from virtlayer.service.source.image import Layer
from virtlayer.service.source.proxy import Proxy, ProxyFailed
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.skopeo_pipe import Receiver, SkopeoPipe
from virtlayer.sizes import MIB

STREAMS = 4
"""Blobs that are downloaded from one registry at the same time."""
_SMALL = 4 * MIB
_PATIENCE = 0.05
"""Seconds that a small blob waits for a proxy in use before another one is started. Starting one
takes at least 25 ms of processor time, and a nearby registry sends the blob in 5 ms."""


class BlobStream:
    """The bytes of one blob, as skopeo sends them."""

    def __init__(
        self, skopeo: Skopeo, layer: Layer, pipe: SkopeoPipe, verdict: asyncio.Future[None]
    ) -> None:
        self._skopeo = skopeo
        self._layer = layer
        self._pipe = pipe
        self._verdict = verdict
        self._received = 0
        self.complete = False
        """Whether the blob is complete, and skopeo has verified the digest."""

        self.is_compared = True
        """Whether the verification of the digest by skopeo is sufficient."""

    async def receive(self, receiver: Receiver) -> int:
        """Pass the next bytes to a receiver, in a thread; the call ends when the thread ends.

        Returns:
            The number of bytes; 0 at the end, and only after the digest was verified.

        Raises:
            DigestMismatch: The bytes do not match the digest of the blob.
            RegistryUnavailable: The registry ended the transfer early, or stopped sending data.
        """
        if self.complete:
            return 0
        async with self._skopeo.waiting(f"blob {self._layer.digest}"):
            await self._pipe.readable()
            missing = self._layer.size - self._received
            if not missing and await self._pipe.read(1):
                raise DigestMismatch(
                    f"{self._skopeo.reference}: blob {self._layer.digest} is longer than the "
                    f"manifest says ({self._layer.size} bytes). Push the image again."
                )
        length = 0
        if missing:
            receiving = asyncio.to_thread(self._pipe.receive, receiver, missing)
            length = await to_completion(receiving)
        self._received += length
        if not length:
            await self._conclude()
        return length

    async def _conclude(self) -> None:
        try:
            async with self._skopeo.waiting(f"blob {self._layer.digest}"):
                await self._verdict
        except ProxyFailed as error:
            raise self._skopeo.failure(f"blob {self._layer.digest}: {error}") from error
        if self._received != self._layer.size:
            raise RegistryUnavailable(
                f"{self._skopeo.reference}: blob {self._layer.digest} ended after "
                f"{self._received} of {self._layer.size} bytes. Try again."
            )
        self.complete = True


class Proxies:
    """The proxies of one source; each streams one blob at a time (see ``proxy``)."""

    def __init__(self, skopeo: Skopeo) -> None:
        self.skopeo = skopeo
        self._slots = asyncio.Semaphore(1 if skopeo.reference.local_path else STREAMS)
        self._lives: dict[Proxy, contextlib.AsyncExitStack] = {}
        self._opened: set[Proxy] = set()
        self._idle: asyncio.LifoQueue[Proxy] = asyncio.LifoQueue()
        self._next: Reference | None = None
        self._first: asyncio.Task[Proxy] | None = None
        self._closing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the first proxy; a failure is reported to its users."""
        self._first = asyncio.create_task(self._started(), name="start of skopeo")

    def open_further(self, reference: Reference) -> None:
        """Set what further proxies open: an immutable reference that was already accepted."""
        self._next = reference

    @contextlib.asynccontextmanager
    async def one(self, patience: float = 0) -> AsyncIterator[Proxy]:
        """Provide a proxy that has opened the image; a proxy that fails is stopped.

        Args:
            patience: Seconds to wait for a proxy that is in use before another one is started.
        """
        async with self._slots:
            proxy = await self._free(patience) or await self._open()
            try:
                yield proxy
            except BaseException:
                await self._end(proxy)
                raise
            if proxy.usable:
                self._idle.put_nowait(proxy)
            else:
                await self._end(proxy)

    @contextlib.asynccontextmanager
    async def blob(self, layer: Layer) -> AsyncIterator[BlobStream]:
        """Stream the blob of a layer; wait while the maximum of blobs are streaming.

        Raises:
            VirtlayerError: It cannot be downloaded; the class says why.
        """
        skopeo = self.skopeo
        async with self.one(_PATIENCE if layer.size <= _SMALL else 0) as proxy:
            try:
                async with skopeo.waiting(f"blob {layer.digest}"):
                    pipe = await proxy.blob(layer.digest, layer.size)
            except ProxyFailed as error:
                raise skopeo.failure(f"blob {layer.digest}: {error}") from error
            with pipe:
                async with meanwhile(proxy.finish(pipe)) as verdict:
                    yield BlobStream(skopeo, layer, pipe, verdict)

    def begin_close(self) -> None:
        """Begin to stop all proxies without waiting; ``close`` waits until they have ended."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end_all(), name="end of skopeo")

    async def close(self) -> None:
        """Stop all proxies, and wait until they have ended."""
        while self._closing is not None or self._first is not None or not self._idle.empty():
            self.begin_close()
            await self._closed()

    async def _closed(self) -> None:
        assert self._closing is not None, "it was begun"
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            await asyncio.wait([self._closing])
            raise
        finally:
            self._closing = None

    async def _end_all(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.cancel()
            await asyncio.wait([first])
            if not first.cancelled() and first.exception() is None:
                await self._end(first.result())
        while not self._idle.empty():
            await self._end(self._idle.get_nowait())

    async def _free(self, patience: float) -> Proxy | None:
        with contextlib.suppress(asyncio.QueueEmpty):
            return self._idle.get_nowait()
        if self._opened and patience:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return await self._idle.get()
        return None

    async def _end(self, proxy: Proxy) -> None:
        self._opened.discard(proxy)
        await self._lives.pop(proxy).aclose()

    async def _open(self) -> Proxy:
        skopeo = self.skopeo
        try:
            proxy = await self._first_or_another()
            try:
                async with skopeo.waiting("opening the image", skopeo.unpacking(proxy)):
                    await proxy.open_image((self._next or skopeo.target).skopeo_name)
            except BaseException:
                await self._end(proxy)
                raise
        except ProxyFailed as error:
            raise skopeo.failure(str(error)) from error
        self._opened.add(proxy)
        return proxy

    async def _first_or_another(self) -> Proxy:
        if self._first is None:
            return await self._started()
        # If this task is cancelled at this moment, ``close`` still finds the proxy.
        proxy = await asyncio.shield(self._first)
        self._first = None
        return proxy

    async def _started(self) -> Proxy:
        async with contextlib.AsyncExitStack() as life:
            # The policy was checked when the image was opened by its name. A rule for exact names
            # would refuse the digest, although it identifies the same image.
            proxy = await life.enter_async_context(self.skopeo.proxy(policy=self._next is None))
            self._lives[proxy] = life.pop_all()
            return proxy
        raise AssertionError("the stack swallows nothing")
