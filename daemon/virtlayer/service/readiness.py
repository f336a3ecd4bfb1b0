# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for descriptors without blocking the event loop."""

import asyncio


async def readable(descriptor: int) -> None:
    """Wait until a descriptor can be read without waiting."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Wait until a descriptor can be written without waiting."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
