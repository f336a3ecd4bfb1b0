# SPDX-License-Identifier: LGPL-2.1-or-later
"""The content of a frame with a message: its attachments in place of its descriptors, and itself.

Each attachment is a kind and a number. The number of a file is its size, and its content follows;
that of a pipe or socket is its stream.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from virtlayer.client.remote.frames import CONTENT_LIMIT, ProtocolError

_COUNT = struct.Struct(">I")
_ATTACHMENT = struct.Struct(">BI")
_ATTACHMENTS_LIMIT = 16
"""Descriptors of a message that a system bus lets through."""


class AttachmentKind(IntEnum):
    """What a descriptor becomes on the other side."""

    FILE = 1
    """A file in memory."""
    PIPE = 2
    """The end of a pipe that can be read."""
    SOCKET = 3
    """A stream socket."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What stands for a descriptor.

    Attributes:
        kind: What it becomes.
        stream: The number of its stream; 0 of a file.
        content: Of a file.
    """

    kind: AttachmentKind
    stream: int = 0
    content: bytes = b""


def joined(attachments: Sequence[Attachment], message: bytes) -> bytes:
    """Return the content of a frame."""
    parts = [_COUNT.pack(len(attachments))]
    for one in attachments:
        number = len(one.content) if one.kind is AttachmentKind.FILE else one.stream
        parts += [_ATTACHMENT.pack(one.kind, number), one.content]
    return b"".join([*parts, message])


def split(content: bytes) -> tuple[list[Attachment], bytes]:
    """Return the attachments and the message.

    Raises:
        ProtocolError: It is malformed.
    """
    try:
        [count] = _COUNT.unpack_from(content)
        if count > _ATTACHMENTS_LIMIT:
            raise ProtocolError(f"a message has {count} attachments")
        position = _COUNT.size
        attachments = []
        for _ in range(count):
            kind, number = _ATTACHMENT.unpack_from(content, position)
            position += _ATTACHMENT.size
            if kind == AttachmentKind.FILE:
                attachments.append(_file(content[position : position + number], number))
                position += number
            else:
                attachments.append(Attachment(AttachmentKind(kind), number))
    except (struct.error, ValueError):
        raise ProtocolError("a message has malformed attachments") from None
    return attachments, content[position:]


def _file(content: bytes, size: int) -> Attachment:
    if len(content) != size or size > CONTENT_LIMIT:
        raise ProtocolError("a message has a malformed file")
    return Attachment(AttachmentKind.FILE, content=content)
