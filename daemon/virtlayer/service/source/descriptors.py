# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting for descriptors that asyncio has no streams for, and reading those of a caller."""

import asyncio
import os
import stat

from virtlayer.errors import InvalidArgument

_SECONDS = 10
_CHUNK = 64 * 1024


async def readable(descriptor: int) -> None:
    """Wait until a read from ``descriptor`` would not block."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


async def content_of(descriptor: int, name: str, limit: int) -> bytes:
    """Everything that a caller's descriptor gives.

    Args:
        descriptor: A file, or what ends within seconds, such as a pipe; stays the caller's.
        name: What the caller calls it, for errors.
        limit: The most bytes.

    Raises:
        InvalidArgument: It cannot be read, does not end, or gives more than the limit.
    """
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            # A memfd's writer left the offset at its end.
            content = os.pread(descriptor, limit + 1, 0)
        else:
            async with asyncio.timeout(_SECONDS):
                content = await _read_to_end(descriptor, limit)
    except TimeoutError:
        raise InvalidArgument(
            f"{name} gave no end of file within {_SECONDS} seconds; close its other side."
        ) from None
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > limit:
        raise InvalidArgument(f"What {name} gives is too long: more than {limit} bytes.")
    return content


async def _read_to_end(descriptor: int, limit: int) -> bytes:
    content = bytearray()
    while len(content) <= limit:
        await readable(descriptor)
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            break
        content += chunk
    return bytes(content)
