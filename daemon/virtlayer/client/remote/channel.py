# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sends and receives frames."""

import asyncio
from typing import NoReturn

from virtlayer.client.remote.descriptors import read_some, write_all
from virtlayer.client.remote.frames import (
    GREETING,
    HEADER,
    Frame,
    FrameKind,
    read_header,
)
from virtlayer.sizes import KIB

_READ_SIZE = 256 * KIB
_QUEUED = 4


class Channel:
    """A pair of streams to the other side.

    Frames are sent in the order of the calls, while ``run`` runs. Only a few are queued: other
    callers wait, so what the other side does not read takes no memory here.

    Args:
        reading: A non-blocking descriptor; it stays the caller's.
        writing: The same, or another one.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._received = bytearray()
        self._queue: asyncio.Queue[Frame] = asyncio.Queue(_QUEUED)

    async def send_now(self, kind: FrameKind, content: bytes = b"") -> None:
        """Send a frame before ``run`` runs.

        Raises:
            OSError: The connection is lost.
        """
        await write_all(self._writing, Frame(kind, 0, content).encoded())

    async def greet(self) -> None:
        """Send the greeting, before everything else.

        Raises:
            OSError: The connection is lost.
        """
        await write_all(self._writing, GREETING)

    async def greeted(self) -> bytes:
        """Receive what should be the greeting, or less at the end of the connection."""
        try:
            return await self._exactly(len(GREETING))
        except (EOFError, OSError):
            return bytes(self._received)

    async def run(self) -> NoReturn:
        """Send frames, until this is cancelled.

        Raises:
            OSError: The connection is lost.
        """
        while True:
            frame = await self._queue.get()
            await write_all(self._writing, frame.encoded())

    async def send(self, kind: FrameKind, stream: int = 0, content: bytes = b"") -> None:
        """Queue a frame. A cancellation means that it is not sent."""
        await self._queue.put(Frame(kind, stream, content))

    async def receive(self) -> Frame:
        """Receive a frame.

        Raises:
            EOFError: The connection has ended.
            OSError: The connection is lost.
            ProtocolError: It is not a frame.
        """
        kind, stream, size = read_header(await self._exactly(HEADER.size))
        return Frame(kind, stream, await self._exactly(size))

    async def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            chunk = await read_some(self._reading, _READ_SIZE)
            if not chunk:
                raise EOFError
            self._received += chunk
        content = bytes(self._received[:size])
        del self._received[:size]
        return content
