# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting as long as there is progress."""

import asyncio
import itertools

import pytest

from virtlayer.service.source.patience import patiently

SECONDS = 0.1


async def test_without_progress_patience_ends() -> None:
    for progress in (None, lambda: 7):
        with pytest.raises(TimeoutError):
            async with patiently(SECONDS, progress):
                await asyncio.Event().wait()


async def test_progress_extends_it() -> None:
    """Ten looks are as long as patience lasts; this needs three times as many."""
    counter, enough = itertools.count(), asyncio.Event()

    def progress() -> int:
        number = next(counter)
        if number == 30:
            enough.set()
        return number

    async with patiently(SECONDS, progress):
        await enough.wait()
