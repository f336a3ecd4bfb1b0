# SPDX-License-Identifier: LGPL-2.1-or-later
"""A layer's blob, as a worker reads it: a file that is all there, or one that still grows."""

from __future__ import annotations

import os
import socket


class BlobFile:
    """A blob that is all there.

    Args:
        descriptor: Its file, at its beginning.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.consumed = 0
        """The bytes that were read."""

    def read(self, size: int = -1, /) -> bytes:
        """Some more bytes, at most that many; nothing at the end."""
        piece = os.read(self._descriptor, size)
        self.consumed += len(piece)
        return piece

    def stop(self) -> None:
        """Let a read in another thread find that there is no more, instead of waiting for it."""


class ArrivingBlobFile(BlobFile):
    """A blob that arrives meanwhile. A read waits for its bytes.

    Args:
        descriptor: Its file, at its beginning.
        announcements: A socket that tells how many bytes can be read; see ``announcing``. Stays
            the caller's to close.
    """

    def __init__(self, descriptor: int, announcements: int) -> None:
        super().__init__(descriptor)
        self._announcements = announcements
        self._readable = 0

    def read(self, size: int = -1, /) -> bytes:
        """Some more bytes, at most that many; nothing at the end."""
        if self.consumed == self._readable:
            announcement = os.read(self._announcements, 8)
            if not announcement:
                return b""
            self._readable = int.from_bytes(announcement, "little")
        return super().read(min(size, self._readable - self.consumed))

    def stop(self) -> None:
        """Let a read in another thread find that there is no more, instead of waiting for it."""
        announcements = socket.socket(fileno=self._announcements)
        try:
            announcements.shutdown(socket.SHUT_RD)
        finally:
            announcements.detach()
