# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the file of a blob, from its beginning to its end.

A huge blob bypasses the page cache (open(2), "O_DIRECT"): it is read once or twice, and allocating
memory for it in the kernel costs more than the rest of the transfer. Its readers do the same,
because reading through the cache would fill it nevertheless.
"""

import asyncio
import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from virtlayer.cancellation import settled
from virtlayer.errors import DigestMismatch
from virtlayer.service.source.digest import hasher
from virtlayer.service.source.image import Layer
from virtlayer.sizes import GIB, MIB

_HUGE = GIB
"""A smaller one is read back from the cache before there is any need to find memory."""
_ALIGNMENT = 4096
"""Of offsets, lengths and memory, on both sides; only the end of the file needs none. Where a disk
wants more, the first write is refused."""
_BUFFER_SIZE = MIB


class _WritingThread:
    """Writes in a thread, one write at a time, so that the next bytes can be received meanwhile.

    Args:
        write: Writes all of some memory, which stays as it is until that is written.
    """

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="blob")
        self._last: Future[None] | None = None

    def begin(self, data: memoryview) -> None:
        """Write some memory after all that was begun before.

        Raises:
            OSError: What was begun before could not be written.
        """
        self.wait()
        self._last = self._executor.submit(self._write, data)

    def wait(self) -> None:
        """Wait for what was begun.

        Raises:
            OSError: It could not be written.
        """
        if self._last is not None:
            self._last.result()
            self._last = None

    async def finish(self) -> None:
        """Wait until nothing is being written, whether or not that worked."""
        if self._last is not None:
            await settled(asyncio.wrap_future(self._last))
        self._executor.shutdown()


class BlobWriter:
    """A file that a download is written to.

    Args:
        descriptor: The file, empty.
        reader: The same file as it is read meanwhile.
        layer: Whose blob it should be.
        hashed: Whether its digest is compared here.
    """

    def __init__(self, descriptor: int, reader: int, layer: Layer, *, hashed: bool) -> None:
        self._descriptor = descriptor
        self._reader = reader
        self._layer = layer
        self._hashing = hasher(layer.digest) if hashed else None
        self._direct = layer.size >= _HUGE and _set_direct(descriptor) and _set_direct(reader)
        # Memory of its own starts with a page.
        self._buffer = memoryview(mmap.mmap(-1, min(layer.size + 1, _BUFFER_SIZE)))
        self._held = 0
        self._other = memoryview(mmap.mmap(-1, _BUFFER_SIZE)) if self._direct else self._buffer
        self._thread = _WritingThread(self._write_all) if self._direct else None
        self._begun = 0
        self.written = 0
        """The bytes that are in the file."""

    def buffer(self) -> memoryview:
        """Memory for the bytes that come next; never empty."""
        return self._buffer[self._held :]

    def take(self, length: int) -> None:
        """Write that many bytes, which were put into ``buffer``; or keep some for the next time.

        Raises:
            DigestMismatch: They are more than there should be.
            OSError: They cannot be written.
        """
        arrived = self._buffer[self._held : self._held + length]
        self._held += length
        missing = self._layer.size - self._begun - self._held
        if missing < 0:
            raise _mismatch(self._layer)
        if self._hashing is not None:
            self._hashing.update(arrived)
        if self._thread is None:
            self._write_now()
        elif missing:
            self._write_in_thread(self._thread)
        else:
            self._write_end(self._thread)

    async def finish(self) -> None:
        """Wait until nothing is being written, whatever has happened."""
        if self._thread is not None:
            await self._thread.finish()

    def check(self) -> None:
        """Find that everything was written, and is right where that is for us to see.

        Raises:
            DigestMismatch: It is not the blob.
        """
        if self.written != self._layer.size or (
            self._hashing is not None
            and f"{self._hashing.name}:{self._hashing.hexdigest()}" != self._layer.digest
        ):
            raise _mismatch(self._layer)

    def _write_now(self) -> None:
        self._write_all(self._buffer[: self._held])
        self._begun += self._held
        self.written = self._begun
        self._held = 0

    def _write_in_thread(self, thread: _WritingThread) -> None:
        """Have a full buffer written, while the other one takes the bytes that come next."""
        if self._held < len(self._buffer):
            return
        length = self._held - self._held % _ALIGNMENT
        thread.begin(self._buffer[:length])
        self.written, self._begun = self._begun, self._begun + length
        self._other[: self._held - length] = self._buffer[length : self._held]
        self._buffer, self._other = self._other, self._buffer
        self._held -= length

    def _write_end(self, thread: _WritingThread) -> None:
        thread.wait()
        # The end of the file need not be aligned, and is no more than a buffer.
        self._stop_direct()
        self._write_now()

    def _write_all(self, data: memoryview) -> None:
        while data:
            data = data[self._write_some(data) :]

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
        self._stop_direct()
        _set_direct(self._reader, direct=False)
        return os.write(self._descriptor, data)

    def _stop_direct(self) -> None:
        self._direct = False
        _set_direct(self._descriptor, direct=False)


def _set_direct(descriptor: int, *, direct: bool = True) -> bool:
    """Have a file's data go past the page cache, or not; False if its file system cannot."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT if direct else flags)
    except OSError:
        return False
    return True


def _mismatch(layer: Layer) -> DigestMismatch:
    """Return the error for a blob that does not match its digest."""
    return DigestMismatch(
        f"The downloaded blob does not match its digest {layer.digest}. The image is corrupt at "
        "the source. Push it again."
    )
