# SPDX-License-Identifier: LGPL-2.1-or-later
"""Image headers, as the worker that reads them reports them to the keeper.

A request is a packet with at most ``BATCH`` descriptors of files, and is answered by a packet for
each of them, in order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

BATCH = 64
"""Files of one request."""
NAME_LIMIT = 1023
"""Bytes; qemu takes no longer name of a backing file."""
PACKET_LIMIT = 32 * 1024
"""Bytes of an answer; two names of bytes that JSON escapes are less."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        format: ``qcow2``, ``qcow`` or ``qed``; "" for anything else, which has no backing file.
        backing: The name of the image that it is an overlay of, as in the header: a path, a URL or
            qemu's own ``json:``; "" if of none.
        backing_format: The format of that image; "" if the header does not say.
        data_file: The name of the file with its data; "" if it has its data itself.
        problem: Why the header cannot be understood, as the end of a sentence; "" if it can.
    """

    format: str = ""
    backing: str = ""
    backing_format: str = ""
    data_file: str = ""
    problem: str = ""

    def packet(self) -> bytes:
        """Encode it as an answer."""
        fields = (self.format, self.backing, self.backing_format, self.data_file, self.problem)
        return json.dumps(fields).encode()


def parse_packet(packet: bytes) -> ImageHeader:
    """Read an answer.

    Raises:
        ValueError: It is not one.
    """
    match json.loads(packet):
        case [str(kind), str(backing), str(backing_format), str(data_file), str(problem)]:
            return ImageHeader(kind, backing, backing_format, data_file, problem)
        case _:
            raise ValueError("not the description of a header")
