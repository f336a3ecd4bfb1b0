# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting as long as there is progress."""

import asyncio
import itertools

import pytest

from tests.support.instant_loop import instantly
from virtlayer.service.source.patience import patiently

SECONDS = 60.0


def test_without_progress_patience_ends() -> None:
    async def wait_in_vain() -> None:
        for progress in (None, lambda: 7):
            with pytest.raises(TimeoutError):
                async with patiently(SECONDS, progress):
                    await asyncio.Event().wait()

    assert instantly(wait_in_vain()) == 2 * SECONDS


def test_progress_extends_it() -> None:
    """Ten looks are as long as patience lasts; this needs three times as many."""
    counter = itertools.count()

    async def wait_for_enough() -> None:
        enough = asyncio.Event()

        def progress() -> int:
            number = next(counter)
            if number == 30:
                enough.set()
            return number

        async with patiently(SECONDS, progress):
            await enough.wait()

    assert instantly(wait_for_enough()) == pytest.approx(3 * SECONDS)
