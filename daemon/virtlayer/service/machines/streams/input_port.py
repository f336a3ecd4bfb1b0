# SPDX-License-Identifier: LGPL-2.1-or-later
"""Passes what a caller types to a machine."""

import asyncio
import socket
from typing import Protocol

from virtlayer.cancellation import settled
from virtlayer.errors import InUse
from virtlayer.protocol.domains import Port
from virtlayer.protocol.streams import Record, RecordKind
from virtlayer.service.keeper.domains import Domains

_TYPING_SECONDS = 10.0
"""The console is open for so long after the last key: other programs may use it then."""
_OPEN_SECONDS = 2.0
"""The keeper may notice a moment late that the last one has closed a port."""
_LOOK_SECONDS = 0.05
_DRAINED = 64 * 1024


class InputPort(Protocol):
    """Where the input of a machine goes."""

    async def open(self) -> None:
        """Prepare for input: the machine runs.

        Raises:
            InUse: Another program has it open.
            VirtlayerError: It cannot be opened.
        """

    async def send(self, record: Record) -> None:
        """Send a record; wait as long as the machine does not take it.

        Raises:
            OSError: The machine has ended, or the keeper has.
            VirtlayerError: See ``open``.
        """

    async def close(self) -> None:
        """Close it."""


class InitPort:
    """The input port of our init, which takes records.

    Args:
        domains: Opens it.
        uuid: The machine.
    """

    def __init__(self, domains: Domains, uuid: str) -> None:
        self._domains = domains
        self._uuid = uuid
        self._line: socket.socket | None = None

    async def open(self) -> None:
        """Open the port, for as long as the caller is there."""
        if self._line is None:
            self._line = await _opened(self._domains, self._uuid, Port.INPUT)

    async def send(self, record: Record) -> None:
        """Send a record."""
        await self.open()
        assert self._line is not None, "it was opened"
        await asyncio.get_running_loop().sock_sendall(self._line, record.encoded())

    async def close(self) -> None:
        """Close it. For our init, that is not the end of the input."""
        if self._line is not None:
            self._line.close()
            self._line = None


class ConsolePort:
    """The console of an image with its own init: a serial line, open only while somebody types.

    The machine would wait for a reader of an open console, so what it writes there is read and
    dropped. The caller gets it from the log file.

    Args:
        domains: Opens it.
        uuid: The machine.
    """

    def __init__(self, domains: Domains, uuid: str) -> None:
        self._domains = domains
        self._uuid = uuid
        self._line: socket.socket | None = None
        self._draining: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Do nothing: it is opened for the first key."""

    async def send(self, record: Record) -> None:
        """Type. A serial line has no signals, no size and no end."""
        if record.kind is not RecordKind.STDIN:
            return
        loop = asyncio.get_running_loop()
        self._stop_timer()
        if self._draining is not None and self._draining.done():
            await self.close()
        if self._line is None:
            self._line = await _opened(self._domains, self._uuid, Port.CONSOLE)
            self._draining = asyncio.create_task(_drain(self._line), name="drains a console")
        await loop.sock_sendall(self._line, record.content)
        self._idle = loop.call_later(_TYPING_SECONDS, self._draining_ends)

    async def close(self) -> None:
        """Close it."""
        self._stop_timer()
        if self._draining is not None:
            self._draining.cancel()
            await settled(self._draining)
            self._draining = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def _draining_ends(self) -> None:
        if self._draining is not None:
            self._draining.cancel()

    def _stop_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


async def _opened(domains: Domains, uuid: str, port: Port) -> socket.socket:
    deadline = asyncio.get_running_loop().time() + _OPEN_SECONDS
    while True:
        try:
            line = await domains.open_line(uuid, port)
        except InUse:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            line.setblocking(False)
            return line


async def _drain(line: socket.socket) -> None:
    """Read and drop, until the other end is closed; then, or when it is cancelled, close."""
    try:
        while await asyncio.get_running_loop().sock_recv(line, _DRAINED):
            pass
    except OSError:
        pass
    finally:
        line.close()
