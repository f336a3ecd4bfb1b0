# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for the user's descriptors without holding up the event loop.

They are shared with other processes, such as the user's shell, so they stay blocking: each read and
write follows a poll(2). After that, a pipe or terminal takes PIPE_BUF bytes without blocking. A
regular file is always ready.
"""

import asyncio
import os
import select


async def readable(descriptor: int) -> None:
    """Wait until a descriptor has input, or is at its end."""
    while not _is_ready(descriptor, select.POLLIN):
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
    # The others have their turn, however much there is.
    await asyncio.sleep(0)


async def writable(descriptor: int) -> None:
    """Wait until a descriptor takes output, or its reader has ended."""
    while not _is_ready(descriptor, select.POLLOUT):
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        # A duplicate: it may be the descriptor of the input, which is watched apart.
        watched = os.dup(descriptor)
        try:
            loop.add_writer(watched, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(watched)
        finally:
            os.close(watched)


def _is_ready(descriptor: int, events: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(0))
