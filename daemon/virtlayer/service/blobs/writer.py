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
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from virtlayer.cancellation import settled
from virtlayer.errors import DigestMismatch
from virtlayer.protocol.recent_bytes import PIECES
from virtlayer.service.blobs.recent_bytes import RecentBytes
from virtlayer.service.source.digest import hasher
from virtlayer.service.source.image import Layer
from virtlayer.sizes import GIB, MIB

_HUGE = GIB
"""The minimum size for direct I/O; smaller blobs are read from the cache before memory is short."""
_BUFFER_SIZE = MIB


def is_huge(layer: Layer) -> bool:
    """Return whether the blob of a layer bypasses the page cache, where it is possible."""
    return layer.size >= _HUGE


class _WritingThread:
    """Writes in a thread, one write at a time, so that the next bytes can be received meanwhile.

    Args:
        write: Writes a whole buffer, which must not change until it is written.
    """

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="blob")
        self._writes: deque[Future[None]] = deque()
        self._has_failed = False

    def begin(self, data: memoryview) -> None:
        """Write a buffer after those of earlier calls."""
        self._writes.append(self._executor.submit(self._write_next, data))

    def wait(self, most: int) -> None:
        """Wait until at most that many writes have not ended.

        Raises:
            OSError: A write failed.
        """
        while self._writes and (len(self._writes) > most or self._writes[0].done()):
            self._writes.popleft().result()

    async def finish(self) -> None:
        """Wait until no write is running, and ignore the results."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for write in self._writes:
            if not write.cancelled():
                await settled(asyncio.wrap_future(write))
        self._executor.shutdown()

    def _write_next(self, data: memoryview) -> None:
        if self._has_failed:
            return  # It would be written to the place of other bytes.
        self._has_failed = True
        self._write(data)
        self._has_failed = False


class BlobWriter:
    """A file that a download is written to.

    Args:
        descriptor: The empty file.
        reader: The same file for readers during the download.
        layer: The layer of the expected blob.
        hashed: Whether the writer verifies the digest.
        recent: The memory that readers share; None for a blob that is not huge.
    """

    def __init__(
        self,
        descriptor: int,
        reader: int,
        layer: Layer,
        *,
        hashed: bool,
        recent: RecentBytes | None,
    ) -> None:
        self._descriptor = descriptor
        self._reader = reader
        self._layer = layer
        self._hashing = hasher(layer.digest) if hashed else None
        self._direct = recent is not None and _set_direct(descriptor) and _set_direct(reader)
        self._recent = recent
        self._pieces = 0
        self._thread: _WritingThread | None = None
        # A separate mapping is aligned to a page, as direct I/O requires it.
        if recent is None:
            self._buffer = memoryview(mmap.mmap(-1, min(layer.size + 1, _BUFFER_SIZE)))
        else:
            self._buffer = recent.piece(0)
            self._thread = _WritingThread(self._write_all)
        self._held = 0
        self._begun = 0
        self.readable = 0
        """The number of bytes that are in the file, or in the shared memory."""

    def buffer(self) -> memoryview:
        """Return memory for the next bytes; it is never empty."""
        return self._buffer[self._held :]

    def take(self, length: int) -> None:
        """Write that many bytes of ``buffer``, or keep some of them for the next write.

        Raises:
            DigestMismatch: The data is longer than the blob.
            OSError: Bytes cannot be written.
        """
        arrived = self._buffer[self._held : self._held + length]
        self._held += length
        missing = self._layer.size - self._begun - self._held
        if missing < 0:
            raise _mismatch(self._layer)
        if self._hashing is not None:
            self._hashing.update(arrived)
        if self._thread is None or self._recent is None:
            self._write_now()
        elif not missing:
            self._write_end(self._thread)
        elif self._held == len(self._buffer):
            self._write_in_thread(self._thread, self._recent)
        self.readable = self._begun + self._held

    async def finish(self) -> None:
        """Wait until no write is running, even after an error."""
        if self._thread is not None:
            thread, self._thread = self._thread, None  # It refers to this object, too.
            await thread.finish()

    def check(self) -> None:
        """Check that all bytes were written, and verify the digest if ``hashed`` is set.

        Raises:
            DigestMismatch: The data does not match the blob.
        """
        if self._begun != self._layer.size or (
            self._hashing is not None
            and f"{self._hashing.name}:{self._hashing.hexdigest()}" != self._layer.digest
        ):
            raise _mismatch(self._layer)

    def _write_now(self) -> None:
        self._write_all(self._buffer[: self._held])
        self._begun += self._held
        self._held = 0

    def _write_in_thread(self, thread: _WritingThread, recent: RecentBytes) -> None:
        """Begin to write a full piece, while the next one is received."""
        thread.begin(self._buffer)
        self._begun += len(self._buffer)
        self._pieces += 1
        # What readers no longer find in the memory must be in the file.
        thread.wait(PIECES - 2)
        self._buffer = recent.piece(self._pieces)
        self._held = 0

    def _write_end(self, thread: _WritingThread) -> None:
        thread.wait(0)
        # The end of the file need not be aligned.
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
