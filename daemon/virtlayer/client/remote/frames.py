# SPDX-License-Identifier: LGPL-2.1-or-later
"""The frames between the command and a bridge, on a reliable stream of bytes in each direction.

Each side first sends ``GREETING``, then frames: a header (kind, stream, size of the content) and
the content. The version in the greeting is increased by every change that an older side would
misunderstand.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from virtlayer.sizes import KIB, MIB

GREETING = b"virtlayer-bridge-01\n"
HEADER = struct.Struct(">BII")

CHUNK = 64 * KIB
"""Bytes of a frame of DATA at most. A message waits for one such frame at most."""
CONTENT_LIMIT = MIB
"""Bytes of a file that is sent together with a message; a larger one is sent as a stream."""
MESSAGE_LIMIT = 64 * MIB
"""Bytes of a message with the files that are sent with it. A bus allows 32 MiB for a message."""
ANSWER_LIMIT = 8 * MIB
STREAM_LIMIT = 64
"""Open streams at most."""


class FrameKind(IntEnum):
    """What a frame has; the stream is 0 where none is mentioned."""

    READY = 1
    """The bridge is connected to the bus."""
    NO_BUS = 2
    """The bridge has no connection to the bus, or no longer: the reason, a sentence."""
    MESSAGE = 3
    """A message of the bus, after its attachments."""
    DATA = 4
    """Bytes of a stream."""
    END = 5
    """No more bytes of a stream follow."""
    CREDIT = 6
    """So many bytes of a stream were consumed, 32 bits: as many more may be sent."""
    DONE = 7
    """A stream's bytes were all delivered, or nobody wants the others."""
    QUESTION = 8
    """A question about the host, JSON; its number is in place of a stream."""
    ANSWER = 9
    """Its answer, JSON."""


_LIMITS = {
    FrameKind.READY: 0,
    FrameKind.NO_BUS: 4 * KIB,
    FrameKind.MESSAGE: MESSAGE_LIMIT,
    FrameKind.DATA: CHUNK,
    FrameKind.END: 0,
    FrameKind.CREDIT: 4,
    FrameKind.DONE: 0,
    FrameKind.QUESTION: 64 * KIB,
    FrameKind.ANSWER: ANSWER_LIMIT,
}


class ProtocolError(Exception):
    """The other side does not follow the protocol; the text is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame.

    Attributes:
        kind: What it has.
        stream: The number of a stream or question.
        content: Its content.
    """

    kind: FrameKind
    stream: int = 0
    content: bytes = b""

    def encoded(self) -> bytes:
        """The bytes of the frame."""
        return HEADER.pack(self.kind, self.stream, len(self.content)) + self.content


def read_header(header: bytes) -> tuple[FrameKind, int, int]:
    """Return the kind, the stream and the size of the content.

    Raises:
        ProtocolError: There is no such kind, or its content is too large.
    """
    number, stream, size = HEADER.unpack(header)
    try:
        kind = FrameKind(number)
    except ValueError:
        raise ProtocolError(f"a frame has the unknown kind {number}") from None
    if size > _LIMITS[kind]:
        raise ProtocolError(f"a frame {kind.name} has {size} bytes")
    return kind, stream, size
