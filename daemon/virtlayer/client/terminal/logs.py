# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints the output that a machine has written, or its last lines, and what follows."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterator

from virtlayer.client.terminal.printer import LocalStreams, Printer
from virtlayer.client.terminal.receiving import received_records
from virtlayer.errors import DomainFailed, ServiceUnavailable
from virtlayer.protocol.streams import Record, RecordKind

_OUTPUT = (RecordKind.STDOUT, RecordKind.STDERR, RecordKind.TERMINAL)


async def print_logs(
    stream: socket.socket, local: LocalStreams, *, lines: int | None, follow: bool
) -> None:
    """Print the output of a machine.

    Args:
        stream: The socket of OpenStreams; it is closed in the end.
        local: The descriptors of the user.
        lines: Only so many last lines of what exists; None for all.
        follow: Whether what follows is printed until the machine ends.

    Raises:
        DomainFailed: The stream ended with an error.
        ServiceUnavailable: The service ended before the stream did.
        BrokenPipeError: The reader of the user's output has ended.
        InvalidArgument: The output cannot be written.
    """
    reader, writer = await asyncio.open_unix_connection(sock=stream)
    printer = Printer(local)
    last = None if lines is None else LastLines(lines)
    try:
        async with contextlib.aclosing(received_records(reader)) as records:
            async for record in records:
                if record.kind is RecordKind.BROKEN:
                    raise DomainFailed(record.content.decode(errors="replace"))
                if record.kind is RecordKind.LIVE:
                    for kept in last or ():
                        await printer.write(kept)
                    last = None
                    if not follow:
                        return
                elif record.kind is RecordKind.ENDED:
                    return
                elif last is not None and record.kind in _OUTPUT:
                    last.add(record)
                else:
                    await printer.write(record)
    finally:
        writer.transport.abort()
    raise ServiceUnavailable(
        "The stream of the machine ended early: virtlayerd has stopped, or the output was not read "
        "for several minutes."
    )


class LastLines:
    """The last lines of output, each with its kind.

    Args:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        self._lines: deque[tuple[RecordKind, bytearray]] = deque(maxlen=number)

    def add(self, record: Record) -> None:
        """Add output, which may begin and end within a line."""
        for piece in _lines_of(record.content):
            if self._lines and self._continues(record.kind):
                self._lines[-1][1].extend(piece)
            else:
                self._lines.append((record.kind, bytearray(piece)))

    def __iter__(self) -> Iterator[Record]:
        return (Record(kind, bytes(line)) for kind, line in self._lines)

    def _continues(self, kind: RecordKind) -> bool:
        last_kind, line = self._lines[-1]
        return last_kind is kind and not line.endswith(b"\n")


def _lines_of(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end]
        start = end
