# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker for each test, or one that the cases of a module share."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.support.keeper import LocalPrograms
from tests.support.leftovers import shared_by_tests
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings


@pytest.fixture
async def worker() -> AsyncIterator[LayerWorker]:
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker_for() -> AsyncIterator[Callable[[LayerSettings], Awaitable[LayerWorker]]]:
    """Workers by their settings, started when they are needed; a bad layer does not end one."""
    workers: dict[LayerSettings, LayerWorker] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def get(settings: LayerSettings) -> LayerWorker:
            if settings not in workers:
                with shared_by_tests():
                    starting = LayerWorker.started(LocalPrograms(), settings)
                    workers[settings] = await stack.enter_async_context(starting)
            return workers[settings]

        yield get
