# SPDX-License-Identifier: LGPL-2.1-or-later
"""Both ends of what a download is poured into."""

from virtlayer.service.source.proxy import Output


class Gathered:
    """An output that keeps what it gets.

    Attributes:
        content: All of it.
    """

    def __init__(self, piece: int) -> None:
        self.content = b""
        self._room = memoryview(bytearray(piece))

    def room(self) -> memoryview:
        """Memory for the bytes that come next."""
        return self._room

    def append(self, length: int) -> None:
        """Keep that many bytes, which were put into ``room``."""
        self.content += self._room[:length]


def pour(data: bytes, output: Output) -> int:
    """Put bytes into an output, as a pipe does; how many there were."""
    rest = memoryview(data)
    while rest:
        room = output.room()[: len(rest)]
        room[:] = rest[: len(room)]
        output.append(len(room))
        rest = rest[len(room) :]
    return len(data)
