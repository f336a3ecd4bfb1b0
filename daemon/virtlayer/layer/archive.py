# SPDX-License-Identifier: LGPL-2.1-or-later
"""The entries of a tar archive: v7, ustar, pax and GNU, as they come out of a stream.

Followed are POSIX.1-2024, "pax — Archive and Interchange Formats"; the GNU tar manual, "Basic Tar
Format" and "Sparse Formats"; and what libarchive and star add to pax headers. Names are bytes:
whatever the archive says is what the file will be called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtlayer.layer import pax, sparse
from virtlayer.layer.header import BLOCK, BadHeader, Header, parse_header
from virtlayer.layer.stream import LayerStream
from virtlayer.layer.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    NO_ATTRIBUTES,
    REGULAR,
    SYMLINK,
    Metadata,
)

HARD_LINK = 0
"""The kind of an entry that is one more name of another; beside the kinds of ``tree``."""

_KINDS = {
    b"0": REGULAR,
    b"\0": REGULAR,
    b"7": REGULAR,
    b"S": REGULAR,
    b"1": HARD_LINK,
    b"2": SYMLINK,
    b"3": CHARACTER_DEVICE,
    b"4": BLOCK_DEVICE,
    b"5": DIRECTORY,
    b"D": DIRECTORY,
    b"6": FIFO,
}
_EXTENSION_LIMIT = 1024 * 1024
"""Bytes of one pax or GNU header: a hundred times what Linux could store of it."""


class BadArchive(Exception):
    """The archive breaks its format.

    Args:
        problem: What is wrong.
        name: The entry that it is about, as far as it is known.
    """

    def __init__(self, problem: str, name: bytes = b"") -> None:
        super().__init__(problem)
        self.problem = problem
        self.name = name


class Entry(NamedTuple):
    """One entry of an archive."""

    name: bytes
    kind: int
    metadata: Metadata
    link: bytes
    """The target of a link, hard or symbolic."""
    size: int
    """Of a regular file in bytes, holes included; 0 for every other kind."""
    segments: tuple[tuple[int, int], ...]
    """Offset and length of each stretch of data of a regular file, ascending."""
    major: int
    minor: int


class Archive:
    """Reads a tar archive once, from its beginning to its end.

    Args:
        stream: Its bytes.
    """

    def __init__(self, stream: LayerStream) -> None:
        self._stream = stream
        self._global: dict[bytes, bytes] = {}
        self._unread = 0
        self._padding = 0

    def entries(self) -> Iterator[Entry]:
        """Every entry in order. The content of one can be read until the next one is asked for.

        Raises:
            BadArchive: The archive breaks its format, or ends within an entry.
            BrokenStream: The compressed bytes are damaged.
        """
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        while (block := self._next_header()) is not None:
            try:
                header = parse_header(block)
            except BadHeader as error:
                raise BadArchive(str(error), records.get(b"path", long_name or b"")) from error
            match header.type:
                case b"x" | b"X":
                    records |= self._records(header)
                case b"g":
                    self._global |= self._records(header)
                case b"L":
                    long_name = self._extension(header).split(b"\0", 1)[0]
                case b"K":
                    long_link = self._extension(header).split(b"\0", 1)[0]
                case b"V":
                    self._begin_content(header.size)  # the label of a volume: no file
                case _:
                    entry = self._entry(header, self._global | records, long_name, long_link)
                    records, long_name, long_link = {}, None, None
                    yield entry

    def pieces(self, length: int) -> Iterator[memoryview]:
        """The next bytes of the present entry's data, as many as that.

        Raises:
            BadArchive: The archive ends before.
        """
        missing = length
        for piece in self._stream.pieces(length):
            missing -= len(piece)
            self._unread -= len(piece)
            yield piece
        if missing:
            raise BadArchive("the archive ends within the data")

    # ---- headers ----

    def _next_header(self) -> bytes | None:
        """Skip what is left of the entry before; None at the end of the archive.

        The end is a block of zeroes, or of the stream: writers that leave the trailer out exist.
        """
        self._skip_content()
        block = self._stream.read(BLOCK)
        if not block or not block.strip(b"\0"):
            return None
        if len(block) < BLOCK:
            raise BadArchive("the archive ends within a header")
        return block

    def _entry(
        self,
        header: Header,
        records: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        name = header.name if long_name is None else long_name
        try:
            fields = pax.override(header, records)
            name = records.get(b"path", name)
            kind = _kind_of(header, name)
            data_size = fields.size if kind == REGULAR else 0
            self._begin_content(data_size)
            size = data_size
            segments: tuple[tuple[int, int], ...] = ((0, data_size),) if data_size else ()
            if kind == REGULAR:
                layout = self._sparse_layout(header, records)
                if layout:
                    size, segments = layout.size, layout.segments
                    name = layout.name or name
        except (pax.BadRecord, sparse.BadMap, BadHeader) as error:
            raise BadArchive(str(error), name) from error
        if b"\0" in name:
            raise BadArchive("the name has a NUL in it", name)
        link = records.get(b"linkpath", header.link if long_link is None else long_link)
        if b"\0" in link:
            raise BadArchive("the link target has a NUL in it", name)
        metadata = Metadata(
            header.mode & 0o7777,
            fields.uid,
            fields.gid,
            fields.mtime,
            pax.attributes(records) if records else NO_ATTRIBUTES,
        )
        return Entry(name, kind, metadata, link, size, segments, header.major, header.minor)

    def _sparse_layout(self, header: Header, records: dict[bytes, bytes]) -> sparse.Layout | None:
        if header.type == b"S":
            layout = sparse.old_gnu(header.raw, self._map_block)
        elif b"GNU.sparse.major" in records:
            layout = sparse.gnu_1_0(records, self._map_data)
        elif b"GNU.sparse.map" in records or b"GNU.sparse.numblocks" in records:
            layout = sparse.gnu_0_x(records)
        else:
            return None
        stored = sum(length for _, length in layout.segments)
        if stored != self._unread:
            raise sparse.BadMap(
                f"the sparse map speaks of {stored} bytes of data, the header of {self._unread}"
            )
        return layout

    def _map_block(self) -> bytes:
        """A block of an old GNU sparse map: between the header and the data."""
        block = self._stream.read(BLOCK)
        if len(block) < BLOCK:
            raise BadArchive("the archive ends within a sparse map")
        return block

    def _map_data(self) -> bytes:
        """A block of a pax sparse map: the first of the data."""
        if self._unread < BLOCK:
            raise sparse.BadMap("the sparse map is longer than the data")
        return b"".join(self.pieces(BLOCK))

    # ---- what comes after a header ----

    def _begin_content(self, size: int) -> None:
        self._unread = size
        self._padding = -size % BLOCK

    def _skip_content(self) -> None:
        for _ in self.pieces(self._unread + self._padding):
            pass
        self._unread = self._padding = 0

    def _extension(self, header: Header) -> bytes:
        if header.size > _EXTENSION_LIMIT:
            raise BadArchive(
                f"an extension header of {header.size} bytes; the limit is {_EXTENSION_LIMIT}"
            )
        self._begin_content(header.size)
        return b"".join(self.pieces(header.size))

    def _records(self, header: Header) -> dict[bytes, bytes]:
        try:
            return pax.parse_records(self._extension(header))
        except pax.BadRecord as error:
            raise BadArchive(str(error)) from error


def _kind_of(header: Header, name: bytes) -> int:
    kind = _KINDS.get(header.type)
    if kind is None:
        raise BadHeader(f"an entry of the unknown type {header.type!r}")
    # Before ustar, a directory was a file whose name ends in a slash.
    if kind == REGULAR and name.endswith(b"/"):
        return DIRECTORY
    return kind
