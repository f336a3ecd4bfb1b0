# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects descriptors with streams of a channel, with a window: nobody sends more than is read.

A direction of a stream has ended when its sender has sent END, and its receiver DONE. The receiver
sends DONE when everything is delivered, or earlier, if nobody reads its descriptor any more.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass

from virtlayer.cancellation import meanwhile
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.descriptors import is_hung_up, read_some, write_all
from virtlayer.client.remote.frames import CHUNK, FrameKind, ProtocolError
from virtlayer.sizes import KIB, MIB

_CREDIT = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Use:
    """What a stream does with its descriptor.

    Attributes:
        sends: Whether it sends what it reads from the descriptor.
        receives: Whether it writes to the descriptor what it receives.
        window: Bytes on the way at most, in each direction.
    """

    sends: bool
    receives: bool
    window: int


_PIPE_WINDOW = 2 * MIB
"""On a line of 100 ms, 20 MB each second."""
_SOCKET_WINDOW = 256 * KIB
"""For the output of machines, which should end soon when the user has left."""

PIPE_TO_SEND = Use(sends=True, receives=False, window=_PIPE_WINDOW)
PIPE_TO_FILL = Use(sends=False, receives=True, window=_PIPE_WINDOW)
SOCKET = Use(sends=True, receives=True, window=_SOCKET_WINDOW)


class Stream:
    """One stream; ``run`` lasts until both directions have ended.

    Args:
        channel: The channel.
        number: Of the stream.
        descriptor: The stream owns it.
        use: What it does with it.

    Attributes:
        use: The same.
    """

    def __init__(self, channel: Channel, number: int, descriptor: int, use: Use) -> None:
        os.set_blocking(descriptor, False)
        self._channel = channel
        self._number = number
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self.use = use
        self._credit = use.window
        self._may_send = asyncio.Event()
        self._all_delivered = asyncio.Event()
        self._incoming: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._unread = 0
        self._unacknowledged = 0
        self._has_ended = False
        self._is_unwanted = False

    async def run(self) -> None:
        """Pass bytes on, and close the descriptor in the end."""
        with self._file:
            async with asyncio.TaskGroup() as group:
                if self.use.sends:
                    group.create_task(self._send())
                if self.use.receives:
                    group.create_task(self._receive())

    def close(self) -> None:
        """Close the descriptor of a stream that does not run, or has not begun to."""
        self._file.close()

    async def delivered(self) -> None:
        """Wait until the other side has delivered what was sent, or wants no more."""
        if self.use.sends:
            await self._all_delivered.wait()

    def take(self, kind: FrameKind, content: bytes) -> None:
        """Take a frame of this stream.

        Raises:
            ProtocolError: It is not valid now.
        """
        match kind:
            case FrameKind.DATA if self.use.receives and not self._has_ended:
                self._unread += len(content)
                if self._unread > self.use.window:
                    raise ProtocolError("a stream has more bytes than its window")
                if not self._is_unwanted:
                    self._incoming.append(content)
            case FrameKind.END if self.use.receives:
                self._has_ended = True
            case FrameKind.CREDIT if self.use.sends and len(content) == _CREDIT.size:
                self._credit += _CREDIT.unpack(content)[0]
                if self._credit > self.use.window:
                    raise ProtocolError("a stream got more credit than its window")
                self._may_send.set()
            case FrameKind.DONE if self.use.sends:
                self._all_delivered.set()
            case _:
                raise ProtocolError(f"a frame {kind.name} does not fit its stream")
        self._changed.set()

    async def _send(self) -> None:
        async with meanwhile(self._read()) as reading, meanwhile(self.delivered()) as unwanted:
            await asyncio.wait([reading, unwanted], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
        if self.use.receives:
            self._look_for_hangup()
        await self._channel.send(FrameKind.END, self._number)
        await self.delivered()

    async def _read(self) -> None:
        """Send what the descriptor gives, to its end."""
        # One that is broken has ended as well.
        with contextlib.suppress(OSError):
            while chunk := await read_some(self._file.fileno(), await self._size_to_send()):
                self._credit -= len(chunk)
                await self._channel.send(FrameKind.DATA, self._number, chunk)

    async def _size_to_send(self) -> int:
        while not self._credit:
            self._may_send.clear()
            await self._may_send.wait()
        return min(CHUNK, self._credit)

    def _look_for_hangup(self) -> None:
        """Note that the other end of the descriptor was closed, and not only its output."""
        if is_hung_up(self._file.fileno()):
            self._is_unwanted = True
            self._changed.set()

    async def _receive(self) -> None:
        # Nobody reads the descriptor any more.
        with contextlib.suppress(OSError):
            await self._write()
        self._is_unwanted = True
        self._incoming.clear()
        self._end_output()
        await self._channel.send(FrameKind.DONE, self._number)
        while not self._has_ended:
            await self._wait_for_change()

    async def _write(self) -> None:
        """Write what arrives, to its end."""
        while not self._is_unwanted:
            if self._incoming:
                chunk = self._incoming.popleft()
                await write_all(self._file.fileno(), chunk)
                await self._acknowledge(len(chunk))
            elif self._has_ended:
                return
            else:
                await self._wait_for_change()

    async def _acknowledge(self, size: int) -> None:
        self._unacknowledged += size
        # The rest is never needed: the sender has three quarters of the window without it.
        if self._unacknowledged >= self.use.window // 4:
            credit, self._unacknowledged = self._unacknowledged, 0
            self._unread -= credit
            await self._channel.send(FrameKind.CREDIT, self._number, _CREDIT.pack(credit))

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _end_output(self) -> None:
        if not self.use.sends:
            self._file.close()
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._file.fileno())) as one:
            one.shutdown(socket.SHUT_WR)
