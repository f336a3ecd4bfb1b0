# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that is started on demand, and ended when it is no longer needed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.waiting import until
from virtlayer.service.operations.on_demand import OnDemand


class Reaped:
    """Stands for a process whose end takes a moment, as that of a real one does."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        self.events.append("started")
        try:
            yield "worker"
        finally:
            await asyncio.sleep(0.01)
            self.events.append("gone")


async def test_unneeded_worker_is_not_started() -> None:
    process = Reaped()
    async with OnDemand(process.running()) as demand:
        demand.let_go()
    assert process.events == []


async def test_worker_is_started_once_and_stopped() -> None:
    process = Reaped()
    async with OnDemand(process.running()) as demand:
        demand.prepare()
        assert await demand.worker() == await demand.worker() == "worker"
        assert process.events == ["started"]
    assert process.events == ["started", "gone"]


async def test_worker_stops_while_the_caller_continues() -> None:
    process = Reaped()
    async with OnDemand(process.running()) as demand:
        await demand.worker()
        demand.let_go()
        await until(lambda: process.events == ["started", "gone"])


@pytest.mark.parametrize("times", [1, 2])
async def test_released_worker_has_ended_at_the_end(times: int) -> None:
    process = Reaped()
    async with OnDemand(process.running()) as demand:
        await demand.worker()
        for _ in range(times):
            demand.let_go()
            await asyncio.sleep(0)
    assert process.events == ["started", "gone"]


async def test_waiting_caller_gets_the_start_error() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        if not started:
            raise FileNotFoundError("no such program")
        yield "never"

    started: list[str] = []

    async with OnDemand(broken()) as demand:
        with pytest.raises(FileNotFoundError, match="no such program"):
            await demand.worker()
