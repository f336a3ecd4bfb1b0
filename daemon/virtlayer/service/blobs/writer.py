# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the file of a blob, from its beginning to its end.

A huge blob bypasses the page cache (open(2), "O_DIRECT"). It is read only once or twice, and the
allocation of kernel memory for it costs more than the rest of the transfer. Its readers also bypass
the page cache, because they would fill it otherwise.
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
"""The minimum size for direct I/O; smaller blobs are read from the cache before memory is short."""
_ALIGNMENT = 4096
"""The alignment of offsets, lengths and memory for reads and writes, except at the end of the file.
If a disk needs a larger alignment, the first write fails, and direct I/O is disabled."""
_BUFFER_SIZE = MIB


class _WritingThread:
    """Writes in a thread, one write at a time, so that the next bytes can be received meanwhile.

    Args:
        write: Writes a whole buffer, which must not change until it is written.
    """

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="blob")
        self._last: Future[None] | None = None

    def begin(self, data: memoryview) -> None:
        """Begin to write a buffer, after the previous write has ended.

        Raises:
            OSError: The previous write failed.
        """
        self.wait()
        self._last = self._executor.submit(self._write, data)

    def wait(self) -> None:
        """Wait until the current write has ended.

        Raises:
            OSError: The write failed.
        """
        if self._last is not None:
            self._last.result()
            self._last = None

    async def finish(self) -> None:
        """Wait until no write is running, and ignore its result."""
        if self._last is not None:
            await settled(asyncio.wrap_future(self._last))
        self._executor.shutdown()


class BlobWriter:
    """A file that a download is written to.

    Args:
        descriptor: The empty file.
        reader: The same file for readers during the download.
        layer: The layer of the expected blob.
        hashed: Whether the writer verifies the digest.
    """

    def __init__(self, descriptor: int, reader: int, layer: Layer, *, hashed: bool) -> None:
        self._descriptor = descriptor
        self._reader = reader
        self._layer = layer
        self._hashing = hasher(layer.digest) if hashed else None
        self._direct = layer.size >= _HUGE and _set_direct(descriptor) and _set_direct(reader)
        # A separate mapping is aligned to a page.
        self._buffer = memoryview(mmap.mmap(-1, min(layer.size + 1, _BUFFER_SIZE)))
        self._held = 0
        self._other = memoryview(mmap.mmap(-1, _BUFFER_SIZE)) if self._direct else self._buffer
        self._thread = _WritingThread(self._write_all) if self._direct else None
        self._begun = 0
        self.written = 0
        """The number of bytes that are in the file."""

    def buffer(self) -> memoryview:
        """Return memory for the next bytes; it is never empty."""
        return self._buffer[self._held :]

    def take(self, length: int) -> None:
        """Write that many bytes of ``buffer``, or keep some of them for the next write.

        Raises:
            DigestMismatch: The data is longer than the blob.
            OSError: The bytes cannot be written.
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
        """Wait until no write is running, even after an error."""
        if self._thread is not None:
            await self._thread.finish()

    def check(self) -> None:
        """Check that all bytes were written, and verify the digest if ``hashed`` is set.

        Raises:
            DigestMismatch: The data does not match the blob.
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
        """Begin to write a full buffer, while the other buffer takes the next bytes."""
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
        # The end of the file need not be aligned, and fits into a buffer.
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
    """Enable or disable direct I/O; return False if the file system does not support it."""
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
