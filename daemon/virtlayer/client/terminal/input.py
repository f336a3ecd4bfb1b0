# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sends what the user types, or a pipe or file gives, to a machine."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator

from virtlayer.client.terminal.ready import readable
from virtlayer.errors import InvalidArgument
from virtlayer.protocol.streams import Record, RecordKind

LEAVE_KEY = b"\x1d"
"""Ctrl-], as in virsh and telnet."""
_CHUNK = 32 * 1024
_PENDING_LIMIT = 1024 * 1024
"""Bytes that wait for a machine that does not read. More keys are dropped: the user must still be
able to leave."""


class Sender:
    """Sends records to the service.

    Args:
        writer: Of the socket of OpenStreams.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, record: Record) -> None:
        """Send a record, or drop it if the machine has not read the earlier ones."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < _PENDING_LIMIT:
            self._writer.write(record.encoded())

    async def send_patiently(self, record: Record) -> None:
        """Send a record when the machine has read most of the earlier ones."""
        self._writer.write(record.encoded())
        # The end of the stream is reported where it is read.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()


async def send_typed(descriptor: int, sender: Sender) -> None:
    """Send keys from a raw terminal until the user types Ctrl-], or the terminal is closed."""
    async for typed in _chunks(descriptor):
        before, leave, _after = typed.partition(LEAVE_KEY)
        if before:
            sender.send(Record(RecordKind.STDIN, before))
        if leave:
            return


async def send_content(descriptor: int, sender: Sender) -> None:
    """Send the content of a pipe, file or cooked terminal, and its end.

    Raises:
        InvalidArgument: It cannot be read.
    """
    async for chunk in _chunks(descriptor):
        await sender.send_patiently(Record(RecordKind.STDIN, chunk))
    await sender.send_patiently(Record(RecordKind.END_OF_INPUT))


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    while True:
        await readable(descriptor)
        if not (chunk := _read(descriptor)):
            return
        yield chunk


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""  # The terminal was closed.
        raise InvalidArgument(f"Standard input cannot be read: {error.strerror}.") from error
