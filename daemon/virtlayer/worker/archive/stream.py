# SPDX-License-Identifier: LGPL-2.1-or-later
"""A layer's blob as a stream of uncompressed bytes whose digest is known at the end.

A thread reads and decompresses (in C without the GIL) while the caller works on what came before.
At most ``_WAITING`` pieces of memory are between the two, which hash them when they would wait
otherwise.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Protocol, Self, cast

import zstandard
from isal import igzip_lib

from virtlayer.worker.archive.hashing_queue import Handover
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.problems import (
    BrokenStream,
    StreamTooLong,
    UnsupportedCompression,
)

_PIECE = 512 * 1024
_INPUT = 256 * 1024
_WAITING = 8
_FIRST_BYTES = 8 * 1024
"""The first input of a gzip member: the unused rest is copied, and a member may be tiny."""
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_UNSUPPORTED = {
    "xz": (b"\xfd7zXZ\0",),
    # A digit follows "BZh", and then the first block or, without data, the end. "BZh" alone could
    # be the name of a file: an archive that is not compressed begins with one.
    "bzip2": tuple(b"BZh%d%b" % (n, e) for n in range(1, 10) for e in (b"1AY&SY", b"\x17rE8P\x90")),
}
_LONGEST_MAGIC = 10
# The stubs say that it is an exception and not a class of them.
_DAMAGED: type[Exception] = igzip_lib.error  # type: ignore[assignment]


class Source(Protocol):
    """Compressed bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Some more bytes, at most that many; nothing at the end."""


def unpacked(source: Source) -> Iterator[bytes]:
    """The bytes of a blob, uncompressed: its first bytes say how to.

    Docker, containerd and podman do not use the media type either, and some images have a wrong
    one.

    Raises:
        BrokenStream: The compressed bytes are damaged, or end too early.
        UnsupportedCompression: They are compressed in another way.
    """
    blob = _Peekable(source)
    first = blob.peek(_LONGEST_MAGIC)
    if first.startswith(_GZIP_MAGIC):
        return _gunzip(blob)
    if first.startswith(_ZSTD_MAGIC) or (first[1:4] == _ZSTD_SKIPPABLE and first[0] & 0xF0 == 0x50):
        return _unzstd(blob)
    for name, magics in _UNSUPPORTED.items():
        if first.startswith(magics):
            raise UnsupportedCompression(name)
    return _plain(blob)


class _Peekable:
    """A source whose first bytes can be looked at before they are read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held = b""

    def peek(self, size: int) -> bytes:
        while len(self._held) < size and (more := self._source.read(_INPUT)):
            self._held += more
        return self._held[:size]

    def read(self, size: int = -1, /) -> bytes:
        if self._held:
            piece, self._held = self._held[:size], self._held[size:]
            return piece
        return self._source.read(size)


def _plain(source: Source) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece


def _gunzip(source: Source) -> Iterator[bytes]:
    """RFC 1952, section 2.2: a file is a series of members. Nothing else may follow them."""
    data, position = source.read(_INPUT), 0
    while position < len(data):
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        portion = _FIRST_BYTES
        while not member.eof:
            fed = memoryview(b"")
            if member.needs_input:
                if position == len(data):
                    data, position = source.read(_INPUT), 0
                fed = memoryview(data)[position : position + portion]
                if not fed:
                    raise BrokenStream("the gzip data ends too early")
                position += len(fed)
                portion = _INPUT
            try:
                piece = member.decompress(fed, _PIECE)
            except _DAMAGED as error:
                raise BrokenStream(f"the gzip data is damaged ({error})") from error
            if piece:
                yield piece
        position -= len(member.unused_data)
        if position == len(data):
            data, position = source.read(_INPUT), 0


def _unzstd(source: Source) -> Iterator[bytes]:
    """RFC 8878, section 3.1: frames, and skippable frames, one after the other."""
    # 128 MiB: the default limit of zstd itself, and what "--ultra -22" needs.
    context = zstandard.ZstdDecompressor(max_window_size=128 * 1024 * 1024)
    reader = context.stream_reader(cast("IO[bytes]", source), read_across_frames=True)
    try:
        while piece := reader.read(_PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise BrokenStream(f"the zstd data is damaged ({error})") from error


class LayerStream:
    """The uncompressed bytes of a blob.

    Args:
        blob: The blob, at its beginning.
        algorithm: The hash of the diff_id: ``sha256`` or ``sha512``.
        limit: How many bytes may come out.
        on_progress: Called from time to time with the number of bytes of the blob read so far.

    Raises:
        BrokenStream: From every method that reads.
        UnsupportedCompression: From every method that reads.
        StreamTooLong: From every method that reads.
    """

    def __init__(
        self,
        blob: BlobReader,
        algorithm: str,
        limit: int,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._blob = blob
        self._on_progress = on_progress
        self._hash = hashlib.new(algorithm)
        self._limit = limit
        self._handover = Handover(self._hash, _WAITING)
        self._current = b""
        self._view = memoryview(b"")
        self._position = 0
        self._ended = False
        self._thread = threading.Thread(target=self._produce, name="decompress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handover.close()
        self._blob.stop()
        self._thread.join()

    def hexdigest(self) -> str:
        """The digest of all uncompressed bytes; known once ``drain`` has returned."""
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        """Exactly that many bytes, or fewer at the end of the stream."""
        start = self._position
        if start + size <= len(self._current):
            self._position = start + size
            return self._current[start : start + size]
        return b"".join(bytes(piece) for piece in self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """That many bytes in pieces, or fewer at the end of the stream."""
        while size and (self._position < len(self._current) or self._advance()):
            piece = self._view[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            yield piece

    def whole(self, size: int) -> memoryview | None:
        """That many bytes, if they are in one piece of memory; else None, and nothing is read."""
        start = self._position
        if start + size > len(self._current):
            return None
        self._position = start + size
        return self._view[start : start + size]

    def at_hand(self) -> bytes:
        """The next bytes that are in memory. At the beginning, the first bytes are waited for."""
        if not self._current:
            self._advance()
        return self._current[self._position :]

    def skip(self, size: int) -> int:
        """Read over that many bytes; fewer are left at the end of the stream.

        Returns:
            How many there were.
        """
        missing = size
        while self._position + missing > len(self._current):
            missing -= len(self._current) - self._position
            self._position = len(self._current)
            if not self._advance():
                return size - missing
        self._position += missing
        return size

    def drain(self) -> None:
        """Read to the end of the stream."""
        while self._advance():
            pass
        self._position = len(self._current)

    def _advance(self) -> bool:
        """Go on to the next piece; False at the end."""
        if self._ended:
            return False
        piece = self._handover.take()
        self._on_progress(self._blob.consumed)
        if isinstance(piece, bytes):
            self._current, self._view = piece, memoryview(piece)
            self._position = 0
            return True
        self._ended = True
        if piece is not None:
            raise piece
        return False

    def _produce(self) -> None:
        try:
            produced = 0
            for piece in unpacked(self._blob):
                produced += len(piece)
                if produced > self._limit:
                    raise StreamTooLong
                if not self._handover.give(piece):
                    return
            self._handover.give(None)
        except BaseException as error:
            self._handover.give(error)
