# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes messages to the socket of a bus connection.

dbus-next 0.2.3 loses the connection when the socket is full: its writer takes EAGAIN for an error.
This writer replaces it.
"""

import array
import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dbus_next.message import Message

_log = logging.getLogger(__name__)

SEND_LIMIT = 32 * 1024 * 1024
"""Bytes of a message above which a system bus, as it comes, disconnects the sender."""
_CHUNK = 256 * 1024


class MessageTooLarge(ValueError):
    """A message that is too large for the bus."""


def _close_copies(descriptors: Iterable[int]) -> None:
    """Close our own copies of descriptors that were sent."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def marshalled(message: Message) -> bytearray:
    """The bytes of a message that has its serial; for any thread.

    Raises:
        MessageTooLarge: The bus would disconnect us for it.
        ValueError: The body does not match the signature.
    """
    content: bytearray = message._marshall(negotiate_unix_fd=True)  # noqa: SLF001 -- dbus-next has no public one
    if len(content) > SEND_LIMIT:
        raise MessageTooLarge(
            f"The message has {len(content)} bytes; the limit of a bus is {SEND_LIMIT}."
        )
    return content


@dataclass(slots=True)
class _Outgoing:
    content: memoryview
    descriptors: list[int]


class Writer:
    """Writes messages to a non-blocking socket, in order, as fast as the bus reads them.

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
        content = marshalled(message)
        copies = [os.dup(descriptor) for descriptor in message.unix_fds or ()]
        self._append(_Outgoing(memoryview(content), copies))

    def add_marshalled(self, content: bytearray) -> None:
        """Take the bytes of a message without descriptors over."""
        self._append(_Outgoing(memoryview(content), []))

    def _append(self, outgoing: _Outgoing) -> None:
        self._queue.append(outgoing)
        self._drained.clear()
        self._watch()

    def schedule_write(self) -> None:
        """Begin to write: the bus has answered Hello, before which nothing else may be sent."""
        self._held = False
        self._watch()

    async def drained(self) -> None:
        """Wait until the bus has received every message."""
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
            # The reader notices the end of the connection as well, and reports it.
            _log.debug("Cannot write to the bus: %s", error)
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
