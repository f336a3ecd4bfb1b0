# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for the end of a machine by its stream, without its output."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from virtlayer.client.terminal.receiving import received_records
from virtlayer.errors import DomainFailed, ServiceUnavailable
from virtlayer.protocol.streams import RecordKind

TAIL = 4096
"""Bytes of existing output that have the exit status of a program that has just ended."""
_CRASHED = b"crashed"


@dataclass(frozen=True, slots=True)
class MachineEnd:
    """The end of a machine.

    Attributes:
        exit_status: That of its program; None if it has none.
        crashed: Whether it crashed.
    """

    exit_status: int | None
    crashed: bool


async def end_of_machine(stream: socket.socket) -> MachineEnd:
    """Read a stream to its end.

    Args:
        stream: The socket of OpenStreams, with ``follow``; it is closed in the end.

    Raises:
        DomainFailed: The stream ended with an error.
        ServiceUnavailable: The service ended before the stream did.
    """
    reader, writer = await asyncio.open_unix_connection(sock=stream)
    status: int | None = None
    try:
        async with contextlib.aclosing(received_records(reader)) as records:
            async for record in records:
                match record.kind:
                    case RecordKind.EXIT:
                        [status] = record.content
                    case RecordKind.STARTED:
                        status = None
                    case RecordKind.ENDED:
                        return MachineEnd(status, record.content == _CRASHED)
                    case RecordKind.BROKEN:
                        raise DomainFailed(record.content.decode(errors="replace"))
    finally:
        writer.transport.abort()
    raise ServiceUnavailable("The stream of the machine ended early: virtlayerd has stopped.")
