# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a layer's blob from a file that is complete, or that still grows."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Iterator

from virtlayer.protocol.recent_bytes import LENGTH, PIECE, SIZE

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
            self._unread = self._next()
        piece = bytes(self._unread[:size])
        self._unread = self._unread[size:]
        self.consumed += len(piece)
        return piece

    def _next(self) -> memoryview:
        return self._buffer[: os.readv(self._descriptor, [self._buffer])]

    def stop(self) -> None:
        """Let a read in another thread end as at the end of the blob, instead of waiting."""


class RecentBytes:
    """The last bytes of a blob, in memory that its download shares.

    Args:
        descriptor: The memory; stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        memory = memoryview(mmap.mmap(descriptor, LENGTH, prot=mmap.PROT_READ))
        self._ring = memory[:SIZE]
        self._lost = memory[SIZE : SIZE + 8].cast("Q")

    def read(self, offset: int, size: int) -> bytes:
        """Some bytes of the blob, at most that many; nothing if they are no longer in memory."""
        start = offset % SIZE
        # The end of the ring is the end of a slice.
        piece = bytes(self._ring[start : start + size]) if offset >= self._lost[0] else b""
        return piece if offset >= self._lost[0] else b""


class GrowingBlobReader(BlobReader):
    """A blob that is downloaded meanwhile. A read waits for its bytes.

    Args:
        descriptor: Its file, at its beginning.
        announcements: A socket that announces how many bytes can be read, see
            ``service/blobs/announcement.py``; stays the caller's to close.
        recent: The memory with its last bytes, if its download shares that.
    """

    def __init__(
        self, descriptor: int, announcements: int, recent: RecentBytes | None = None
    ) -> None:
        super().__init__(descriptor)
        self._announcements = announcements
        self._recent = recent
        self._readable = self._answered = 0

    def read(self, size: int = -1, /) -> bytes:
        """Some more bytes, at most that many; nothing at the end."""
        if self._recent is None:
            return super().read(size)
        if self.consumed - self._answered >= PIECE:
            self._answer()
        if self._unread or not self._is_more():
            return super().read(size)
        left = self._readable - self.consumed
        piece = self._recent.read(self.consumed, min(size, left) if size >= 0 else left)
        self.consumed += len(piece)
        return piece or super().read(size)

    def _next(self) -> memoryview:
        if not self._is_more():
            return self._buffer[:0]
        # The bytes before it are read again, because it may be anywhere in a block.
        start = self.consumed - self.consumed % _ALIGNMENT
        length = min(self._readable - start, len(self._buffer))
        os.lseek(self._descriptor, start, os.SEEK_SET)
        fetched = os.readv(self._descriptor, [self._buffer[: length + -length % _ALIGNMENT]])
        # The bytes after it were not announced, so they may still change.
        return self._buffer[self.consumed - start : min(fetched, length)]

    def _is_more(self) -> bool:
        """Wait until further bytes can be read; False at the end of the blob."""
        while self.consumed == self._readable:
            announcement = os.read(self._announcements, 8)
            if not announcement:
                return False
            self._readable = max(self._readable, int.from_bytes(announcement, "little"))
        return True

    def _answer(self) -> None:
        """Tell the service how much was read. It may have ended the download, or not listen."""
        self._answered = self.consumed
        with self._socket() as announcements, contextlib.suppress(OSError):
            announcements.send(self.consumed.to_bytes(8, "little"), socket.MSG_DONTWAIT)

    @contextlib.contextmanager
    def _socket(self) -> Iterator[socket.socket]:
        announcements = socket.socket(fileno=self._announcements)
        try:
            yield announcements
        finally:
            announcements.detach()

    def stop(self) -> None:
        """Let a read in another thread end as at the end of the blob, instead of waiting."""
        with self._socket() as announcements:
            announcements.shutdown(socket.SHUT_RD)
