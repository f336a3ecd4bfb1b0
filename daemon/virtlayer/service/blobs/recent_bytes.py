# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service's end of the memory that a download shares with its reader."""

import contextlib
import mmap
import os
import select
import socket
import time
from collections.abc import Iterator

from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.memory_files import new_memory_file
from virtlayer.protocol.recent_bytes import LENGTH, PIECE, PIECES, SIZE

_NEAR = 16 * SIZE
"""How far behind a reader may be to be waited for. It takes a fraction of a second to catch up."""
_PATIENCE = 0.05
"""Seconds without progress of a reader after which it is left behind."""
_MOST_PATIENCE = 0.5
"""Seconds after which a reader that makes progress is left behind, too."""


class RecentBytes:
    """The last bytes of a blob. The memory is freed when nothing refers to it.

    Attributes:
        descriptor: The memory, for reading.
    """

    def __init__(self) -> None:
        file = new_memory_file()
        os.ftruncate(file, LENGTH)
        memory = memoryview(mmap.mmap(file, LENGTH))
        self._ring = memory[:SIZE]
        self._lost = memory[SIZE : SIZE + 8].cast("Q")
        path = f"/proc/self/fd/{file}"
        self.descriptor = OwnedDescriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        file.close()
        self._reader: OwnedDescriptor | None = None
        self._consumed = 0

    @contextlib.contextmanager
    def followed(self, reader: socket.socket) -> Iterator[None]:
        """Let a reader follow the download for as long as the context lasts.

        Args:
            reader: A socket, see ``announcement``. The reader sends how much it has read.
        """
        # A thread may still use it afterwards.
        self._consumed, self._reader = 0, OwnedDescriptor(os.dup(reader.fileno()))
        try:
            yield
        finally:
            self._reader = None

    def piece(self, number: int) -> memoryview:
        """Return memory for the next piece of the blob; what was there before is lost.

        The reader is told that it can read the pieces before this one; the event loop would tell
        it later. A reader that is not far behind is waited for: what is lost here, it would have to
        read from the disk.

        Args:
            number: Counts the pieces. Those up to ``number - PIECES + 1`` must be in the file.
        """
        lost = max(0, number + 2 - PIECES) * PIECE
        if (reader := self._reader) is not None:
            # If its socket is full, or it has ended, the event loop deals with it.
            with contextlib.suppress(OSError):
                os.write(reader, (number * PIECE).to_bytes(8, "little"))
            self._wait(reader, lost)
        self._lost[0] = lost
        start = number % PIECES * PIECE
        return self._ring[start : start + PIECE]

    def _wait(self, reader: int, size: int) -> None:
        """Wait until a reader has read that many bytes, as long as it makes progress."""
        deadline = time.monotonic() + _MOST_PATIENCE
        messages = select.poll()
        messages.register(reader, select.POLLIN)
        while self._consumed < size and time.monotonic() < deadline:
            is_near = size - self._consumed <= _NEAR
            if not messages.poll(_PATIENCE * 1000 if is_near else 0):
                return
            with contextlib.suppress(OSError):
                if message := os.read(reader, 8):
                    self._consumed = int.from_bytes(message, "little")
                    continue
            self._reader = None  # It has ended.
            return
