# SPDX-License-Identifier: LGPL-2.1-or-later
"""Relays bytes between a socket of the service and the other end of a domain's port.

The service does not get QEMU's socket itself: a second client of that one hangs without an error,
and this process could not know when the first one has closed it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from virtlayer.errors import InUse, VirtlayerError

_AT_ONCE = 65536


class Line(Protocol):
    """The other end of a port; ``close`` may be called while both others wait."""

    async def receive(self) -> bytes:
        """Wait for bytes; none at its end."""

    async def send(self, data: bytes) -> None:
        """Send bytes."""

    async def close(self) -> None:
        """Close it."""


class SocketLine:
    """A Unix socket of QEMU.

    Args:
        connection: The connected socket, which this owns.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> bytes:
        """Wait for bytes; none at its end."""
        return await self._loop.sock_recv(self._connection, _AT_ONCE)

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self._loop.sock_sendall(self._connection, data)

    async def close(self) -> None:
        """Close it."""
        self._connection.close()


class Relays:
    """The relays of this process: one for each port of a domain."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._opening: set[tuple[str, str]] = set()

    async def open(self, uuid: str, port: str, connect: Callable[[], Awaitable[Line]]) -> int:
        """Connect to a port of a domain, and relay it until one of both ends is closed.

        Args:
            uuid: The domain.
            port: The name of the port.
            connect: Connects to it.

        Returns:
            A descriptor of the service's end: a socket, which is the caller's.

        Raises:
            InUse: It is open.
            VirtlayerError: It cannot be opened.
        """
        key = uuid, port
        if key in self._running or key in self._opening:
            raise InUse(f"The {port} of this machine is open in another program. Close it first.")
        self._opening.add(key)
        try:
            line = await connect()
        finally:
            self._opening.discard(key)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        task = asyncio.create_task(_relay(ours, line), name=f"{port} of {uuid}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        return theirs.detach()

    async def close(self) -> None:
        """End all relays."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def _relay(ours: socket.socket, line: Line) -> None:
    loop = asyncio.get_running_loop()

    async def to_port() -> None:
        while data := await loop.sock_recv(ours, _AT_ONCE):
            await line.send(data)

    async def from_port() -> None:
        while data := await line.receive():
            await loop.sock_sendall(ours, data)

    directions = [asyncio.create_task(to_port()), asyncio.create_task(from_port())]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
            # A closed end is the end of both directions.
            with contextlib.suppress(asyncio.CancelledError, OSError, VirtlayerError):
                await direction
        ours.close()
        with contextlib.suppress(VirtlayerError):
            await line.close()
