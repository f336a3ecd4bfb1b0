# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records on the two ports of our init, and on the socket of OpenStreams.

A record is a header of 8 bytes (``MARK``, the kind in one byte, the length of the content in a
little-endian 32-bit number) and its content. A reader that begins within a record, because older
output was rotated away, looks for the next header. Records come from the guest: untrusted.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

MARK = b"\xa5VL"
HEADER = struct.Struct("<3sBI")
CONTENT_LIMIT = 65536
"""Bytes of the content of one record."""


class RecordKind(IntEnum):
    """The kinds of records."""

    STDOUT = 1  # bytes of the entrypoint's standard output
    STDERR = 2  # bytes of its standard error
    TERMINAL = 3  # bytes of its terminal; or of the console of an image with its own init
    STARTED = 4  # our init is about to start the entrypoint: content is empty
    EXIT = 5  # the entrypoint has ended: its status in one byte, as a shell's $?
    FAILED = 6  # the entrypoint cannot be started: a sentence in UTF-8; EXIT follows

    STDIN = 16  # bytes for the entrypoint's standard input or terminal
    END_OF_INPUT = 17  # no bytes follow
    WINDOW_SIZE = 18  # rows and columns, little-endian 16-bit numbers
    SIGNAL = 19  # the number of a signal for the entrypoint, in one byte


@dataclass(frozen=True, slots=True)
class Record:
    """A record.

    Attributes:
        kind: Its kind.
        content: Its content.
    """

    kind: RecordKind
    content: bytes

    def encoded(self) -> bytes:
        """Return it as it is on a port."""
        return HEADER.pack(MARK, self.kind, len(self.content)) + self.content
