# SPDX-License-Identifier: LGPL-2.1-or-later
"""The entries of a tar archive: v7, ustar, pax and GNU, as they come out of a stream.

It follows POSIX.1-2024, "pax — Archive and Interchange Formats"; the GNU tar manual, "Basic Tar
Format" and "Sparse Formats"; and the additions of libarchive and star to pax headers. Names are
bytes, and are kept as the archive has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtlayer.protocol.layer_limits import LayerLimits
from virtlayer.worker.archive import pax, sparse
from virtlayer.worker.archive.header import BLOCK, BadHeader, Header, parse_header
from virtlayer.worker.archive.plain import plain_reader
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.attributes import storable_attributes
from virtlayer.worker.problems import BadArchive, LayerProblem, TooLarge, quoted
from virtlayer.worker.tree import (
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
"""The kind of an entry that is a further name of another one; in addition to those of ``tree``."""

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
_PLAIN_KINDS = {type_: _KINDS[type_] for type_ in (b"0", b"1", b"2", b"5", b"6", b"7")}
"""The kinds that a header without extensions describes completely, without device numbers."""
_INCREMENTAL = b"D"
_OLD_SPARSE = b"S"
_ONE_BLOCK_OF_ZEROES = bytes(BLOCK)


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


class _Extension:
    """What the extended headers before an entry say of it."""

    __slots__ = ("length", "link", "name", "records")

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.name = b""
        self.link = b""
        self.length = 0


class Archive:
    """Reads a tar archive once, from its beginning to its end.

    Args:
        stream: Its bytes.
        limits: How much an entry may ask for.
    """

    def __init__(self, stream: LayerStream, limits: LayerLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._path_limit = limits.path
        self._read_plain = plain_reader()
        self._global: dict[bytes, bytes] = {}
        self._unread = 0
        self._padding = 0
        self._last_name = b""

    def entries(self) -> Iterator[Entry]:
        """Every entry in order. The content of one can be read until the next one is asked for.

        Raises:
            BadArchive: The archive breaks its format, or ends within an entry.
            TooLarge: A header goes beyond a limit.
            BrokenStream: The compressed bytes are damaged.
            UnsupportedCompression: They are compressed in a way that is not supported.
        """
        extension = _Extension()
        extended = False
        while (block := self._next_header()) is not None:
            if not extended and (plain := self._plain_entry(block)):
                self._last_name = plain.name
                yield plain
                continue
            try:
                header = parse_header(block)
                if header.type in _KINDS:
                    entry = self._entry(header, extension)
                    self._last_name = entry.name
                    if extended:
                        extension, extended = _Extension(), False
                    yield entry
                else:
                    self._extend(extension, header)
                    extended = True
            except (BadHeader, pax.BadRecord) as error:
                raise BadArchive(f"{error}, in a header {self._place()}") from error

    def names_ahead(self) -> list[bytes]:
        """The first names, as far as the archive is in memory; asked for before the first entry.

        They end at a damaged header, which is not reported. They are only hints, because an
        extended header may give its entry another name.

        Raises:
            BrokenStream: The compressed bytes are damaged.
            UnsupportedCompression: They are compressed in a way that is not supported.
            StreamTooLong: The archive has too many bytes.
        """
        data = self._stream.at_hand()
        names: list[bytes] = []
        position = 0
        while position + BLOCK <= len(data):
            plain = self._read_plain(data[position : position + BLOCK])
            if plain is None:
                break
            name, type_, _, _, _, size, _, _ = plain
            kind = _PLAIN_KINDS.get(type_)
            if kind is not None:
                names.append(name)
            # Any other type is an extended header, with data as a file has it.
            has_data = kind in (None, REGULAR)
            position += BLOCK + (size + -size % BLOCK if has_data else 0)
        return names

    def _extend(self, extension: _Extension, header: Header) -> None:
        """Read a header that is not an entry of its own."""
        match header.type:
            case b"x" | b"X":
                # Of two in a row, only the last one counts, as in Go, GNU tar and umoci.
                extension.records = pax.parse_records(self._extension(extension, header))
            case b"g":
                records = pax.parse_records(self._extension(_Extension(), header))
                self._global |= {
                    field: records[field] for field in pax.GLOBAL_FIELDS if field in records
                }
            case b"L":
                extension.name = self._extension(extension, header).split(b"\0", 1)[0]
            case b"K":
                extension.link = self._extension(extension, header).split(b"\0", 1)[0]
            case b"V":
                self._begin_content(header.size)  # the label of a volume, which is not a file
            case _:
                name = extension.name or extension.records.get(b"path") or header.name
                raise BadArchive(f"it has the unknown type {quoted(header.type)}", name)

    def _place(self) -> str:
        return f"after {quoted(self._last_name)}" if self._last_name else "at the beginning"

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
            raise BadArchive("the archive ends within the data", self._last_name)

    def whole(self, length: int) -> memoryview | None:
        """The next bytes of the present entry's data, if they are in memory in one piece."""
        piece = self._stream.whole(length)
        if piece is not None:
            self._unread -= length
        return piece

    # ---- headers ----

    def _next_header(self) -> bytes | None:
        """Skip what is left of the entry before; None at the end of the archive.

        The end is two blocks of zeroes, or the end of the stream, because some writers omit the
        trailer. One block of zeroes followed by something else would be the end for some readers
        only.
        """
        self._skip_content()
        block = self._stream.read(BLOCK)
        if not block:
            return None
        if block == _ONE_BLOCK_OF_ZEROES:
            if self._stream.read(BLOCK).strip(b"\0"):
                raise BadArchive(f"a single block of zeroes {self._place()}")
            return None
        if len(block) < BLOCK:
            raise BadArchive(f"it ends within a header {self._place()}")
        return block

    def _plain_entry(self, block: bytes) -> Entry | None:
        """Read a header without special cases; None if ``_entry`` must read it."""
        if self._global or (fields := self._read_plain(block)) is None:
            return None
        name, type_, mode, uid, gid, size, mtime, link = fields
        kind = _PLAIN_KINDS.get(type_)
        if kind is None or len(name) > self._path_limit or len(link) > self._path_limit:
            return None
        if kind != REGULAR:
            size = 0
        self._begin_content(size)
        metadata = Metadata(mode & 0o7777, uid, gid, mtime * 1_000_000_000)
        return Entry(name, kind, metadata, link, size, ((0, size),) if size else (), 0, 0)

    def _entry(self, header: Header, extension: _Extension) -> Entry:
        records = self._global | extension.records if self._global else extension.records
        # Go and GNU tar differ in which one takes precedence. Images follow Go's archive/tar.
        name = extension.name or records.get(b"path") or header.name
        try:
            kind = _KINDS[header.type]
            # Before ustar, a directory was a file whose name ends in a slash.
            if header.type == b"\0" and name.endswith(b"/"):
                kind = DIRECTORY
            uid, gid, size, mtime = pax.override(header, records)
            # Only a file has data, even if another entry has a size.
            has_data = kind == REGULAR or header.type == _INCREMENTAL
            self._begin_content(size if has_data else 0)
            if kind != REGULAR:
                size = 0
            segments: tuple[tuple[int, int], ...] = ((0, size),) if size else ()
            if kind == REGULAR and (layout := self._sparse_layout(header, records)):
                size, segments = layout.size, layout.segments
                name = layout.name or name
            link = extension.link or records.get(b"linkpath") or header.link
            self._check_names(name, link, kind)
            metadata = Metadata(
                header.mode & 0o7777,
                uid,
                gid,
                mtime,
                storable_attributes(pax.attributes(records), kind) if records else NO_ATTRIBUTES,
            )
        except (pax.BadRecord, sparse.BadMap, BadHeader) as error:
            raise BadArchive(str(error), name) from error
        except LayerProblem as problem:
            raise problem.about(name) from None
        return Entry(name, kind, metadata, link, size, segments, header.major, header.minor)

    def _check_names(self, name: bytes, link: bytes, kind: int) -> None:
        if b"\0" in name:
            raise BadArchive("the name has a NUL in it")
        if b"\0" in link:
            raise BadArchive("the link target has a NUL in it")
        limit = self._path_limit
        if len(name) > limit:
            raise TooLarge(f"a path of {len(name)} bytes; the limit is {limit}")
        if kind == HARD_LINK and len(link) > limit:
            raise TooLarge(f"a link target of {len(link)} bytes; the limit is {limit}")

    def _sparse_layout(self, header: Header, records: dict[bytes, bytes]) -> sparse.Layout | None:
        limit = self._limits.segments
        if header.type == _OLD_SPARSE:
            layout = sparse.old_gnu(header.raw, self._map_block, limit)
        elif records.get(b"GNU.sparse.major", b"0") != b"0":
            layout = sparse.gnu_1_0(records, self._map_data, limit)
        elif b"GNU.sparse.map" in records or b"GNU.sparse.numblocks" in records:
            layout = sparse.gnu_0_x(records, limit)
        else:
            return None
        stored = sum(length for _, length in layout.segments)
        if stored != self._unread:
            raise sparse.BadMap(
                f"the sparse map has {stored} bytes of data, the header {self._unread}"
            )
        return layout

    def _map_block(self) -> bytes:
        """A block of an old GNU sparse map: between the header and the data."""
        block = self._stream.read(BLOCK)
        if len(block) < BLOCK:
            raise BadArchive("the archive ends within its sparse map")
        return block

    def _map_data(self) -> bytes:
        """A block of a pax sparse map: the first of the data."""
        if self._unread < BLOCK:
            raise sparse.BadMap("the sparse map is longer than the data")
        return b"".join(self.pieces(BLOCK))

    # ---- data after a header ----

    def _begin_content(self, size: int) -> None:
        self._unread = size
        self._padding = -size % BLOCK

    def _skip_content(self) -> None:
        if self._unread and self._stream.skip(self._unread) < self._unread:
            raise BadArchive("the archive ends within the data", self._last_name)
        # Writers that omit the trailer may omit this padding, too.
        self._stream.skip(self._padding)
        self._unread = self._padding = 0

    def _extension(self, extension: _Extension, header: Header) -> bytes:
        """The data of an extended header."""
        extension.length += header.size
        if extension.length > self._limits.header:
            raise TooLarge(
                f"extended headers of {extension.length} bytes {self._place()}; "
                f"the limit is {self._limits.header}"
            )
        self._begin_content(header.size)
        data = b"".join(self._stream.pieces(header.size))
        if len(data) < header.size:
            raise BadArchive(f"it ends within an extended header {self._place()}")
        self._unread = 0
        return data
