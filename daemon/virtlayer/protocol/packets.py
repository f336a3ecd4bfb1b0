# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages between the service and the keeper: JSON objects on a SOCK_SEQPACKET socket.

A message is one packet, with its descriptors (SCM_RIGHTS). One that is longer than a packet is sent
in pieces, ``{"piece": text}`` and at last ``{"piece": text, "last": true}``: the texts together are
the message, and its descriptors come with the last one. Messages are limited in size before they
are parsed.
"""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from virtlayer.sizes import KIB, MIB

PACKET_LIMIT = 64 * KIB
"""Bytes; a socket's default buffer takes three of them."""
PIECE = 24 * KIB
"""Characters of a long message in one packet; all are ASCII, and some need a backslash."""
DESCRIPTORS_LIMIT = 4
"""Descriptors that may come with one packet."""
REQUEST_LIMIT = MIB
"""Characters of a request: the names of 10,000 layers."""
REPLY_LIMIT = 64 * MIB
"""Characters of a reply: the descriptions of 100,000 volumes."""
_AT_ONCE = 16
"""Packets that are read before other tasks of the event loop run."""

type Message = dict[str, Any]


class Malformed(Exception):
    """The other side sent something that is not a message of this protocol."""


class PacketSocket:
    """One end of a connection; the owner closes it.

    Args:
        connection: The socket.
        limit: The most characters of a message that is received.
        on_message: Called with each message and its descriptors, which are then the callee's.
        on_end: Called once, when the other side has closed its end or sent something invalid.

    Attributes:
        length: Characters of the message that ``on_message`` was called with last.
    """

    def __init__(
        self,
        connection: socket.socket,
        limit: int,
        on_message: Callable[[Message, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._limit = limit
        self._on_message = on_message
        self._on_end = on_end
        self._pieces: list[str] = []
        self._pieces_length = 0
        self.length = 0
        self._is_sending = False
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self.resume()

    def resume(self) -> None:
        """Read, from now on."""
        if not self._reading and self._connection.fileno() != -1:
            self._loop.add_reader(self._connection, self._read)
            self._reading = True

    def pause(self) -> None:
        """Read nothing until ``resume``; the other side's messages wait in the socket."""
        if self._reading:
            self._loop.remove_reader(self._connection)
            self._reading = False

    def close(self) -> None:
        """Close this end; ``on_end`` is not called."""
        self.pause()
        if self._is_sending:
            # Otherwise the loop would watch the number, which another connection gets.
            self._loop.remove_writer(self._connection)
            self._is_sending = False
        self._connection.close()

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message.

        Args:
            message: The message.
            descriptors: They stay the caller's.

        Raises:
            OSError: The other side has closed its end.
        """
        text = json.dumps(message, separators=(",", ":"))
        async with self._turn:
            if len(text) <= PACKET_LIMIT:
                await self._send(text.encode(), descriptors)
                return
            for start in range(0, len(text), PIECE):
                is_last = start + PIECE >= len(text)
                last = {"last": True} if is_last else {}
                piece = json.dumps({"piece": text[start : start + PIECE], **last})
                await self._send(piece.encode(), descriptors if is_last else ())

    async def _send(self, packet: bytes, descriptors: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._connection, [packet], descriptors)
            except BlockingIOError:
                await self._writable()
            else:
                return

    async def _writable(self) -> None:
        writable = asyncio.Event()
        self._loop.add_writer(self._connection, writable.set)
        self._is_sending = True
        try:
            await writable.wait()
        finally:
            if self._is_sending:
                self._loop.remove_writer(self._connection)
                self._is_sending = False

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._reading:
                return
            try:
                packet, descriptors = _received(self._connection)
            except BlockingIOError:
                return
            except (OSError, Malformed):
                packet, descriptors = b"", []
            try:
                message = self._message(packet) if packet else None
                if packet and message is None:
                    close_in_thread(descriptors)
                    continue
            except Malformed:
                message = None
            if message is None:
                close_in_thread(descriptors)
                self.pause()
                self._on_end()
            else:
                self._on_message(message, descriptors)

    def _message(self, packet: bytes) -> Message | None:
        """The message that a packet completes; None if pieces of it are still to come."""
        message, self.length = _parsed(packet), len(packet)
        match message:
            case {"piece": str(piece), **rest}:
                self._pieces.append(piece)
                self._pieces_length += len(piece)
                if not piece or self._pieces_length > self._limit:
                    raise Malformed("a message that is too long, or has empty pieces")
                if not rest:
                    return None
                message, self.length = _parsed("".join(self._pieces)), self._pieces_length
                self._pieces.clear()
                self._pieces_length = 0
        return message


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    packet, descriptors, flags, _ = socket.recv_fds(
        connection, PACKET_LIMIT + 1, DESCRIPTORS_LIMIT, socket.MSG_CMSG_CLOEXEC
    )
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_in_thread(descriptors)
        raise Malformed("a packet that is too long, or has too many descriptors")
    return packet, descriptors


def _parsed(text: bytes | str) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON") from error
    if not isinstance(message, dict):
        raise Malformed("no object")
    return message


def close_in_thread(descriptors: Sequence[int]) -> asyncio.Future[None]:
    """Close descriptors that another process has sent; the result comes when they are closed.

    close(2) can block for hours: a TCP socket lingers (socket(7)), a file of FUSE waits for its
    process, and a Unix socket may have either in its queue. So each time has a thread of its own.
    """
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    if not descriptors:
        closed.set_result(None)
        return closed

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, closed)

    try:
        threading.Thread(target=close, name="closing", daemon=True).start()
    except RuntimeError:
        close()  # No further thread can be started. Blocking is better than leaving them open.
    return closed


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
