# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gets a file on disk while it is still being written, so that the sync at its end is short."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

_PAUSE = 0.25
"""Seconds between two syncs; what is written within that needs none before the last."""


@contextlib.asynccontextmanager
async def written_back(file: Path) -> AsyncIterator[None]:
    """Sync a file that others write, again and again, for as long as the context lasts.

    It promises nothing: who needs the file on disk syncs it afterwards, and hears of errors then.
    """
    syncing = asyncio.create_task(_sync_repeatedly(file), name=f"write back {file.name}")
    try:
        yield
    finally:
        # A sync that is under way goes on in its thread, with a descriptor of its own.
        syncing.cancel()
        await asyncio.wait([syncing])


async def _sync_repeatedly(file: Path) -> None:
    with contextlib.suppress(OSError):
        while True:
            await asyncio.sleep(_PAUSE)
            await asyncio.to_thread(_sync, file)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
