# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages between the service and the keeper: JSON objects on a SOCK_SEQPACKET socket.

A message is one packet, with its descriptors (SCM_RIGHTS). One that is longer than a packet is sent
in pieces, ``{"piece": text}`` and at last ``{"piece": text, "last": true}``: the texts together are
the message. What either side sends is bounded before it is parsed.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from virtlayer.settings import KIB, MIB

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

type Message = dict[str, Any]


class Malformed(Exception):
    """What the other side has sent is not a message of this protocol."""


class PacketSocket:
    """One end of a connection; the owner closes it.

    Args:
        connection: The socket.
        limit: The most characters of a message that is received.
        on_message: Called with each message and its descriptors, which are then the callee's.
        on_end: Called once, when the other side has closed its end or sent what is no message.
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
            assert not descriptors, "no message with descriptors is that long"
            for start in range(0, len(text), PIECE):
                last = {"last": True} if start + PIECE >= len(text) else {}
                piece = json.dumps({"piece": text[start : start + PIECE], **last})
                await self._send(piece.encode(), ())

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
        try:
            await writable.wait()
        finally:
            if self._connection.fileno() != -1:
                self._loop.remove_writer(self._connection)

    def _read(self) -> None:
        while self._reading:
            try:
                packet, descriptors = _received(self._connection)
            except BlockingIOError:
                return
            except (OSError, Malformed):
                packet, descriptors = b"", []
            try:
                message = self._message(packet) if packet else None
                if packet and message is None:
                    _close(descriptors)
                    continue
            except Malformed:
                message = None
            if message is None:
                _close(descriptors)
                self.pause()
                self._on_end()
            else:
                self._on_message(message, descriptors)

    def _message(self, packet: bytes) -> Message | None:
        """The message that a packet completes; None if pieces of it are still to come."""
        message = _parsed(packet)
        match message:
            case {"piece": str(piece), **rest}:
                self._pieces.append(piece)
                if sum(map(len, self._pieces)) > self._limit:
                    raise Malformed("a message that is too long")
                if not rest:
                    return None
                message = _parsed("".join(self._pieces))
                self._pieces.clear()
        return message


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    packet, descriptors, flags, _ = socket.recv_fds(
        connection, PACKET_LIMIT + 1, DESCRIPTORS_LIMIT, socket.MSG_CMSG_CLOEXEC
    )
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        _close(descriptors)
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


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
