# SPDX-License-Identifier: LGPL-2.1-or-later
"""Both ends of what a download is written to."""

from virtlayer.service.source.skopeo_pipe import Receiver


class Gathered:
    """A receiver that keeps what it gets.

    Attributes:
        content: All of it.
    """

    def __init__(self, piece: int) -> None:
        self.content = b""
        self._room = memoryview(bytearray(piece))

    def buffer(self) -> memoryview:
        """Memory for the bytes that come next."""
        return self._room

    def take(self, length: int) -> None:
        """Keep that many bytes, which were put into ``buffer``."""
        self.content += self._room[:length]


def receive(data: bytes, receiver: Receiver) -> int:
    """Put bytes into a receiver, as a pipe does; how many there were."""
    rest = memoryview(data)
    while rest:
        room = receiver.buffer()[: len(rest)]
        room[:] = rest[: len(room)]
        receiver.take(len(room))
        rest = rest[len(room) :]
    return len(data)
