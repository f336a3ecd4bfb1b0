# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes to the user's descriptors without holding up the event loop."""

import os
import select

from virtlayer.client.terminal.ready import writable
from virtlayer.errors import InvalidArgument

_CHUNK = select.PIPE_BUF


async def write_all(descriptor: int, content: bytes) -> None:
    """Write bytes to a file, pipe or terminal.

    Raises:
        BrokenPipeError: Its reader has ended.
        InvalidArgument: It cannot be written to.
    """
    left = memoryview(content)
    try:
        while left:
            await writable(descriptor)
            left = left[os.write(descriptor, left[:_CHUNK]) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidArgument(f"The output cannot be written: {error.strerror}.") from error
