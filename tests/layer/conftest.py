# SPDX-License-Identifier: LGPL-2.1-or-later
"""One worker a test: what a test does to it stays with it."""

from collections.abc import AsyncIterator

import pytest

from virtlayer.config import LayerSettings
from virtlayer.layer.session import LayerWorker


@pytest.fixture
async def worker() -> AsyncIterator[LayerWorker]:
    async with LayerWorker.started(LayerSettings()) as started:
        yield started
