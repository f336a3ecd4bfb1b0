# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads and writes non-blocking descriptors in the event loop.

asyncio's transports have no bound for what they have read, close a socket that both standard input
and output of a program are, and take no bytes with descriptors.
"""

import asyncio
import os
import select
from collections.abc import Callable
from typing import Any


async def read_some(descriptor: int, size: int) -> bytes:
    """Return some bytes, or none at the end.

    Raises:
        OSError: It cannot be read.
    """
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:
            await readable(descriptor)


async def write_all(descriptor: int, content: bytes) -> None:
    """Write bytes.

    Raises:
        OSError: It cannot be written to; BrokenPipeError if nobody reads it.
    """
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            await writable(descriptor)


async def readable(descriptor: int) -> None:
    """Wait until a descriptor has input, or is at its end."""
    loop = asyncio.get_running_loop()
    await _ready(descriptor, loop.add_reader, loop.remove_reader)


async def writable(descriptor: int) -> None:
    """Wait until a descriptor takes output, or nobody reads it."""
    loop = asyncio.get_running_loop()
    await _ready(descriptor, loop.add_writer, loop.remove_writer)


def is_hung_up(descriptor: int) -> bool:
    """Whether the other end of a socket was closed, and not only its output."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


async def _ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], bool]) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
