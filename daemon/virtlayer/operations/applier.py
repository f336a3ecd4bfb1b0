# SPDX-License-Identifier: LGPL-2.1-or-later
"""A layer worker that is started when it is known to be needed, which for many pulls is never."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Self

from virtlayer.config import LayerSettings
from virtlayer.layer.session import (
    AppliedLayer,
    CustomizationRequest,
    LayerRequest,
    LayerWorker,
)


class WorkerOnDemand:
    """Stands for a worker; made with ``available``."""

    def __init__(self, settings: LayerSettings) -> None:
        self._settings = settings
        self._worker: asyncio.Future[LayerWorker] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def available(cls, settings: LayerSettings) -> AsyncIterator[Self]:
        """Have a worker at hand; the process ends with the context, if it was started."""
        on_demand = cls(settings)
        try:
            yield on_demand
        finally:
            await on_demand._end()

    def prepare(self) -> None:
        """Start the process now: its interpreter takes longer to start than some blobs to come."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name="layer worker")

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> AppliedLayer:
        """Apply a layer (``LayerWorker.apply``)."""
        self.prepare()
        worker = await asyncio.shield(self._worker)
        return await worker.apply(request, on_bytes)

    async def customize(self, request: CustomizationRequest) -> None:
        """Customize a volume (``LayerWorker.customize``)."""
        self.prepare()
        worker = await asyncio.shield(self._worker)
        await worker.customize(request)

    async def _live(self) -> None:
        try:
            async with LayerWorker.started(self._settings) as worker:
                self._worker.set_result(worker)
                await asyncio.Event().wait()
        except Exception as error:
            if self._worker.done():
                raise
            self._worker.set_exception(error)

    async def _end(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        if self._worker.done() and not self._worker.cancelled():
            self._worker.exception()  # seen, even if no layer waited for it
        self._worker.cancel()
