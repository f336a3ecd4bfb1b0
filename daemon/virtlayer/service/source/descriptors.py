# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for descriptors that asyncio has no streams for."""

import asyncio


async def readable(descriptor: int) -> None:
    """Wait until a read from ``descriptor`` would not block."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
