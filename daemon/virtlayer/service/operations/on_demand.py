# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts a worker only when it is needed; many jobs need none."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Self

from virtlayer.cancellation import settled


class OnDemand[Process]:
    """A worker that is started on demand; the process ends with the context.

    Args:
        started: Runs the worker.
    """

    def __init__(self, started: AbstractAsyncContextManager[Process]) -> None:
        self._started = started
        self._worker: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._life is not None:
            self.let_go()
            await asyncio.wait([self._life])
        self._worker.cancel()
        await settled(self._worker)

    def prepare(self) -> None:
        """Start the process now: its interpreter takes longer to start than some blobs to come."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name="worker on demand")

    def let_go(self) -> None:
        """Stop the worker without waiting; the caller goes on while the process ends."""
        # Once only: after a second cancellation, the process would seem to have ended too early.
        if self._life is not None and not self._life.cancelling():
            self._life.cancel()

    async def worker(self) -> Process:
        """The worker, started now if it was not."""
        self.prepare()
        return await asyncio.shield(self._worker)

    async def _live(self) -> None:
        try:
            async with self._started as worker:
                self._worker.set_result(worker)
                await asyncio.Event().wait()
        # Any error: otherwise callers that wait for the worker would block forever.
        except Exception as error:
            if self._worker.done():
                raise
            self._worker.set_exception(error)
