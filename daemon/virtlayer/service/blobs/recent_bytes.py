# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service's end of the memory that a download shares with its reader."""

import mmap
import os

from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.memory_files import new_memory_file
from virtlayer.protocol.recent_bytes import LENGTH, PIECE, PIECES, SIZE


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

    def piece(self, number: int) -> memoryview:
        """Return memory for the next piece of the blob; what was there before is lost.

        Args:
            number: Counts the pieces. Those up to ``number - PIECES + 1`` must be in the file.
        """
        self._lost[0] = max(0, number + 2 - PIECES) * PIECE
        start = number % PIECES * PIECE
        return self._ring[start : start + PIECE]
