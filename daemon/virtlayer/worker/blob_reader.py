# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a layer's blob from a file that is complete, or that still grows."""

from __future__ import annotations

import mmap
import os
import socket

_BUFFER_SIZE = 1024 * 1024
_ALIGNMENT = 4096
"""The alignment of offsets and lengths where the file is read past the page cache."""


class BlobReader:
    """A complete blob.

    Args:
        descriptor: Its file, at its beginning.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # A mapping is aligned to pages, as reading past the page cache requires it.
        self._buffer = memoryview(mmap.mmap(-1, _BUFFER_SIZE))
        self._unread = memoryview(b"")
        self.consumed = 0
        """The bytes that were read."""

    def read(self, size: int = -1, /) -> bytes:
        """Some more bytes, at most that many; nothing at the end."""
        if not self._unread:
            self._unread = self._buffer[: self._read_into(self._buffer)]
        piece = bytes(self._unread[:size])
        self._unread = self._unread[size:]
        self.consumed += len(piece)
        return piece

    def _read_into(self, buffer: memoryview) -> int:
        return os.readv(self._descriptor, [buffer])

    def stop(self) -> None:
        """Let a read in another thread find that there is no more, instead of waiting for it."""


class GrowingBlobReader(BlobReader):
    """A blob that is downloaded meanwhile. A read waits for its bytes.

    Args:
        descriptor: Its file, at its beginning.
        announcements: A socket that announces how many bytes can be read, see
            ``service/blobs/announcement.py``; stays the caller's to close.
    """

    def __init__(self, descriptor: int, announcements: int) -> None:
        super().__init__(descriptor)
        self._announcements = announcements
        self._readable = 0
        self._fetched = 0

    def _read_into(self, buffer: memoryview) -> int:
        while self._fetched == self._readable:
            announcement = os.read(self._announcements, 8)
            if not announcement:
                return 0
            self._readable = int.from_bytes(announcement, "little")
        length = min(self._readable - self._fetched, len(buffer))
        fetched = super()._read_into(buffer[: length + -length % _ALIGNMENT])
        if fetched > length:
            # These bytes were not announced, so they may still change.
            os.lseek(self._descriptor, length - fetched, os.SEEK_CUR)
            fetched = length
        self._fetched += fetched
        return fetched

    def stop(self) -> None:
        """Let a read in another thread find that there is no more, instead of waiting for it."""
        announcements = socket.socket(fileno=self._announcements)
        try:
            announcements.shutdown(socket.SHUT_RD)
        finally:
            announcements.detach()
