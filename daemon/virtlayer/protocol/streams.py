# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records on the two ports of our init, and on the socket of OpenStreams.

A record is a header of 8 bytes (``MARK``, the kind in one byte, the length of the content in a
little-endian 32-bit number) and its content. A reader that begins within a record, because older
output was rotated away, looks for the next header. Records come from the guest: untrusted.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

MARK = b"\xa5VL"
HEADER = struct.Struct("<3sBI")
CONTENT_LIMIT = 65536
"""Bytes of the content of one record."""
TEXT_LIMIT = 4096
"""Bytes of a sentence in a record."""


class RecordKind(IntEnum):
    """The kinds of records."""

    # Of our init, on its output port, and from the service to a reader:
    STDOUT = 1  # bytes of the entrypoint's standard output
    STDERR = 2  # bytes of its standard error
    TERMINAL = 3  # bytes of its terminal; or of the console of an image with its own init
    STARTED = 4  # our init is about to start the entrypoint: content is empty
    EXIT = 5  # the entrypoint has ended: its status in one byte, as a shell's $?
    FAILED = 6  # the entrypoint cannot be started: a sentence in UTF-8; EXIT follows

    # From a client to the service, and on the input port:
    STDIN = 16  # bytes for the entrypoint's standard input or terminal
    END_OF_INPUT = 17  # no bytes follow
    WINDOW_SIZE = 18  # rows and columns, little-endian 16-bit numbers
    SIGNAL = 19  # the number of a signal for the entrypoint, in one byte

    # Of the service, for a reader:
    ENDED = 32  # the machine has ended: "stopped" or "crashed"; the last record
    BROKEN = 33  # the stream ends before the machine: a sentence in UTF-8; the last record
    LOST = 34  # output is missing here: rotated away before it was read, or invalid
    LIVE = 35  # everything that follows is newer than the stream


@dataclass(frozen=True, slots=True)
class Record:
    """A record.

    Attributes:
        kind: Its kind.
        content: Its content.
    """

    kind: RecordKind
    content: bytes = b""

    def encoded(self) -> bytes:
        """Return it as it is on a port."""
        return HEADER.pack(MARK, self.kind, len(self.content)) + self.content


type Lengths = Mapping[int, range]
"""The lengths that the content of a record may have, by the kinds that a reader accepts."""

_BYTES = range(CONTENT_LIMIT + 1)
_TEXT = range(TEXT_LIMIT + 1)
_NOTHING = range(1)
_ONE_BYTE = range(1, 2)

OUTPUT: Lengths = {
    RecordKind.STDOUT: _BYTES,
    RecordKind.STDERR: _BYTES,
    RecordKind.TERMINAL: _BYTES,
    RecordKind.STARTED: _NOTHING,
    RecordKind.EXIT: _ONE_BYTE,
    RecordKind.FAILED: _TEXT,
}
"""What our init writes."""
INPUT: Lengths = {
    RecordKind.STDIN: _BYTES,
    RecordKind.END_OF_INPUT: _NOTHING,
    RecordKind.WINDOW_SIZE: range(4, 5),
    RecordKind.SIGNAL: _ONE_BYTE,
}
"""What a client sends."""
STREAM: Lengths = {
    **OUTPUT,
    RecordKind.ENDED: _TEXT,
    RecordKind.BROKEN: _TEXT,
    RecordKind.LOST: _NOTHING,
    RecordKind.LIVE: _NOTHING,
}
"""What the service sends to a client."""

WINDOW = struct.Struct("<HH")
"""The content of WINDOW_SIZE."""


class RecordParser:
    """Finds records in bytes of which nothing is certain, in linear time and bounded memory.

    Where a header is expected and none is there, a record LOST is returned, once, and the next
    header is looked for. As content can look like a header, one that was found in this way counts
    only if it is followed by another one, or by nothing at the time.

    Args:
        accepted: The kinds and lengths that are valid.
        within: Whether the bytes may begin within a record, which is then left out.
    """

    def __init__(self, accepted: Lengths, *, within: bool = False) -> None:
        self._accepted = accepted
        self._buffer = bytearray()
        self._is_searching = within

    @property
    def buffered(self) -> int:
        """The number of bytes that are no complete record yet: less than 66 KiB."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that these bytes complete.

        Args:
            data: The next bytes; memory is used for them and one record.
        """
        self._buffer += data
        found: list[Record] = []
        start = 0
        while (position := self._next_header(start, found)) is not None:
            start = position
            end = self._end(start)
            if end is None or end > len(self._buffer):
                break
            content = bytes(self._buffer[start + HEADER.size : end])
            found.append(Record(RecordKind(self._buffer[start + len(MARK)]), content))
            self._is_searching = False
            start = end
        else:
            start = len(self._buffer)
        del self._buffer[:start]
        return found

    def interrupt(self) -> Record:
        """Forget what is incomplete, because bytes are missing before the next ones.

        Returns:
            The record for the missing ones.
        """
        self._buffer.clear()
        self._is_searching = True
        return Record(RecordKind.LOST)

    def _next_header(self, start: int, found: list[Record]) -> int | None:
        """Return where the next header is, or may begin; None if it is not in the buffer."""
        if not self._is_searching:
            if self._may_be_header(start):
                return start
            found.append(Record(RecordKind.LOST))
            self._is_searching = True
        while (start := self._find_mark(start)) >= 0:
            end = self._end(start) if self._may_be_header(start) else -1
            if end is None or end > len(self._buffer):
                return start
            if end >= 0 and self._may_be_header(end):
                return start
            start += 1
        return None

    def _find_mark(self, start: int) -> int:
        position = self._buffer.find(MARK, start)
        if position >= 0:
            return position
        # The end may be the beginning of a mark.
        for length in range(len(MARK) - 1, 0, -1):
            position = len(self._buffer) - length
            if position >= start and self._buffer.endswith(MARK[:length]):
                return position
        return -1

    def _may_be_header(self, position: int) -> bool:
        """Return whether a valid header is there, or the beginning of one at the buffer's end."""
        header = self._buffer[position : position + HEADER.size]
        if len(header) < HEADER.size:
            return MARK.startswith(header[: len(MARK)]) and (
                len(header) <= len(MARK) or header[len(MARK)] in self._accepted
            )
        mark, kind, length = HEADER.unpack(header)
        return mark == MARK and length in self._accepted.get(kind, ())

    def _end(self, start: int) -> int | None:
        """Return where the record of a header ends; None if the header is incomplete."""
        if start + HEADER.size > len(self._buffer):
            return None
        _mark, _kind, length = HEADER.unpack_from(self._buffer, start)
        return start + HEADER.size + int(length)
