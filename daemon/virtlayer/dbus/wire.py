# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages from and to the socket of a bus connection.

dbus-next 0.2.3 loses the connection when the socket is full (its writer takes EAGAIN for an error)
and when it does not understand a message; it also lets descriptors through to child programs. This
reader and this writer take the place of its own. The framing is that of the D-Bus Specification
0.43, "Message Protocol".
"""

import array
import asyncio
import contextlib
import io
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.message import Message
from dbus_next.signature import SignatureTree

from virtlayer.dbus.received import close_received

_log = logging.getLogger(__name__)

_FIXED_HEADER = 16
_MESSAGE_LIMIT = 128 * 1024 * 1024
"""The specification's maximum, in bytes."""
SEND_LIMIT = 32 * 1024 * 1024
"""Bytes of a message above which a system bus, as it comes, disconnects the sender."""
_DESCRIPTOR_LIMIT = 253
"""Descriptors in one message; the kernel passes no more at once (SCM_MAX_FD)."""
_CHUNK = 256 * 1024
_SIGNATURES_KEPT = 1000
"""dbus-next keeps every signature that it ever saw, and callers can invent them."""


class MessageTooLarge(ValueError):
    """A message that the bus does not take."""


def _close_copies(descriptors: Iterable[int]) -> None:
    """Close our own copies of descriptors that were sent."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


class Reader:
    """Reads whole messages from a non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    def read(self) -> Message | None:
        """Return the next message, or None if it has not arrived in whole.

        A message that dbus-next cannot represent, such as one of a type that is yet to be invented,
        is dropped. Whoever gets a message owns its descriptors.

        Raises:
            EOFError: The bus has closed the connection.
            OSError: The connection broke.
        """
        # Only ever the bytes of one message are asked for: the kernel hands descriptors out
        # together with the first byte of the message that they came with.
        while self._fill(_FIXED_HEADER) and self._fill(self._message_size()):
            content, descriptors = bytes(self._buffer), self._descriptors
            self._buffer, self._descriptors = bytearray(), []
            message = _parsed(content, descriptors)
            if message is not None:
                return message
        return None

    def close(self) -> None:
        """Forget what has been read in part."""
        close_received(self._descriptors)
        self._descriptors.clear()

    def _fill(self, size: int) -> bool:
        while (missing := size - len(self._buffer)) > 0:
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(
                    min(missing, _CHUNK),
                    socket.CMSG_SPACE(_DESCRIPTOR_LIMIT * array.array("i").itemsize),
                    socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                return False
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    received = array.array("i")
                    received.frombytes(content[: len(content) - len(content) % received.itemsize])
                    self._descriptors.extend(received)
            if not data:
                raise EOFError("the bus closed the connection")
            self._buffer += data
        return True

    def _message_size(self) -> int:
        order = "<" if self._buffer[:1] == b"l" else ">"
        body, _serial, fields = struct.unpack_from(f"{order}III", self._buffer, 4)
        size = int(_FIXED_HEADER + fields + -fields % 8 + body)
        if size > _MESSAGE_LIMIT:
            raise EOFError(f"the bus sent a message of {size} bytes")
        return size


def _parsed(content: bytes, descriptors: list[int]) -> Message | None:
    if len(SignatureTree._cache) > _SIGNATURES_KEPT:  # noqa: SLF001 -- it has no bound of its own
        SignatureTree._cache.clear()  # noqa: SLF001
    parser = Unmarshaller(io.BytesIO(content))
    parser.unix_fds = descriptors
    try:
        message: Message | None = parser.unmarshall()
    except Exception as error:  # whatever its parser trips over, the next message is another one
        _log.warning("A message was dropped: %r", error)
        message = None
    if message is None:
        close_received(descriptors)
    return message


@dataclass(slots=True)
class _Outgoing:
    content: memoryview
    descriptors: list[int]


class Writer:
    """Writes messages to a non-blocking socket, in order, as fast as the bus takes them.

    It has the two methods that dbus-next calls on its own writer.
    """

    def __init__(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = connection
        self._loop = loop
        self._queue: deque[_Outgoing] = deque()
        self._held = True
        self._watching = False
        self._drained = asyncio.Event()
        self._drained.set()

    def add(self, message: Message) -> None:
        """Take a message over; the caller keeps its descriptors, this keeps copies.

        Raises:
            MessageTooLarge: The bus would disconnect us for it.
            ValueError: The body does not match the signature.
        """
        content: bytearray = message._marshall(negotiate_unix_fd=True)  # noqa: SLF001
        if len(content) > SEND_LIMIT:
            raise MessageTooLarge(
                f"The message has {len(content)} bytes, over the {SEND_LIMIT} that a bus takes."
            )
        copies = [os.dup(descriptor) for descriptor in message.unix_fds or ()]
        self._queue.append(_Outgoing(memoryview(content), copies))
        self._drained.clear()
        self._watch()

    def schedule_write(self) -> None:
        """Begin to write: the bus has answered Hello, before which nothing else may be sent."""
        self._held = False
        self._watch()

    async def drained(self) -> None:
        """Wait until the bus has taken every message."""
        await self._drained.wait()

    def close(self) -> None:
        """Write nothing more."""
        self._unwatch()
        for outgoing in self._queue:
            _close_copies(outgoing.descriptors)
        self._queue.clear()
        self._drained.set()

    def _watch(self) -> None:
        if self._queue and not self._held and not self._watching:
            self._loop.add_writer(self._socket, self._write)
            self._watching = True

    def _unwatch(self) -> None:
        if self._watching:
            self._loop.remove_writer(self._socket)
            self._watching = False

    def _write(self) -> None:
        try:
            while self._queue:
                self._write_first()
        except BlockingIOError:
            return
        except OSError as error:
            # The reader meets the end of the connection as well, and reports it.
            _log.debug("Writing to the bus failed: %s", error)
            self.close()
            return
        self._unwatch()
        self._drained.set()

    def _write_first(self) -> None:
        outgoing = self._queue[0]
        if outgoing.descriptors:
            rights = array.array("i", outgoing.descriptors)
            sent = self._socket.sendmsg(
                [outgoing.content[:_CHUNK]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
            _close_copies(outgoing.descriptors)
            outgoing.descriptors = []
        else:
            sent = self._socket.send(outgoing.content[:_CHUNK])
        outgoing.content = outgoing.content[sent:]
        if not outgoing.content:
            self._queue.popleft()
