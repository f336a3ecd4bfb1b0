# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pseudoterminal in front of a stream, as machined's OpenMachinePTY has one.

The caller gets the master, so every terminal emulator works with it. The slave is raw: the machine
has a terminal of its own.
"""

import asyncio
import contextlib
import os
import pty
import socket
import tty

from virtlayer.cancellation import meanwhile
from virtlayer.protocol.streams import STREAM, WINDOW, Record, RecordKind, RecordParser
from virtlayer.service.machines.streams.sink import Sink, TooSlow
from virtlayer.service.readiness import readable

_CHUNK = 32 * 1024
_LOOK_SECONDS = 1.0
"""Linux signals a change of the size to the foreground processes of a terminal only. So it is
compared in this interval, and before each input."""


class Terminal:
    """The terminal of one stream; ``run`` serves it.

    Args:
        stream: The caller's end of a stream with input. It is closed in the end.

    Attributes:
        callers_end: The master, which is the caller's.
    """

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self._stream = stream
        try:
            self.callers_end, self._slave = pty.openpty()
        except OSError:
            stream.close()
            raise
        tty.setraw(self._slave)
        os.set_blocking(self._slave, False)
        self._sink = Sink(self._slave)
        self._size: os.terminal_size | None = None
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the caller until the stream or the terminal is closed."""
        try:
            async with (
                meanwhile(self._show()) as showing,
                meanwhile(self._type()) as typing,
                meanwhile(self._watch_size()),
            ):
                await asyncio.wait([showing, typing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stream.close()
            os.close(self._slave)

    async def _show(self) -> None:
        parser = RecordParser(STREAM)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TooSlow):
            while chunk := await loop.sock_recv(self._stream, _CHUNK):
                shown = b"".join(map(_shown, parser.feed(chunk)))
                await self._sink.send(shown)

    async def _type(self) -> None:
        # EIO: the caller has closed the master.
        with contextlib.suppress(OSError):
            while True:
                await readable(self._slave)
                with contextlib.suppress(BlockingIOError):
                    if not (typed := os.read(self._slave, _CHUNK)):
                        return
                    await self._send_size()
                    await self._send(Record(RecordKind.STDIN, typed))

    async def _watch_size(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._send_size()
                await asyncio.sleep(_LOOK_SECONDS)

    async def _send_size(self) -> None:
        size = os.get_terminal_size(self._slave)
        if size != self._size and size.lines and size.columns:
            self._size = size
            await self._send(Record(RecordKind.WINDOW_SIZE, WINDOW.pack(size.lines, size.columns)))

    async def _send(self, record: Record) -> None:
        async with self._sending:
            await asyncio.get_running_loop().sock_sendall(self._stream, record.encoded())


def _shown(record: Record) -> bytes:
    match record.kind:
        case RecordKind.TERMINAL:
            return record.content
        case RecordKind.STDOUT | RecordKind.STDERR:
            # As the driver of a terminal would.
            return record.content.replace(b"\n", b"\r\n")
        case RecordKind.FAILED | RecordKind.BROKEN:
            return b"\r\nvirtlayer: " + record.content + b"\r\n"
        case _:
            return b""
