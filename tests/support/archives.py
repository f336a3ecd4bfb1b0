# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tar archives put together field by field, right or wrong, for what no library would write.

Every function returns bytes; an archive is what they add up to::

    archive(entry("etc/", kind=b"5"), pax({"path": "etc/é"}), entry("x", b"content"))

Formats: POSIX.1-2024, "pax"; GNU tar manual, "Basic Tar Format" and "Sparse Formats"; star(5).
"""

import os
import struct
from collections.abc import Mapping, Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
TIME = 1_600_000_000

V7, USTAR, GNU = b"", b"ustar\x0000", b"ustar  \0"

_FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "checksum": (148, 8),
    "kind": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "uname": (265, 32),
    "gname": (297, 32),
    "major": (329, 8),
    "minor": (337, 8),
    "prefix": (345, 155),
    "trailer": (508, 4),
}

type Text = str | bytes
type Segment = tuple[int, int]


def octal(value: int, length: int) -> bytes:
    """A number as POSIX writes it: digits up to a NUL."""
    return b"%0*o\0" % (length - 1, value)


def base256(value: int, length: int) -> bytes:
    """A number as GNU writes it where octal digits do not suffice."""
    bits = length * 8
    return (value & (1 << bits) - 1 | 1 << bits - 1).to_bytes(length)


def header(
    name: Text,
    *,
    kind: bytes = b"0",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = TIME,
    link: Text = b"",
    magic: bytes = USTAR,
    device: tuple[int, int] | None = None,
    signed: bool = False,
    **raw: bytes,
) -> bytes:
    """One header block.

    Args:
        name: At most 100 bytes; more are cut off.
        kind: The type flag.
        mode: As a number, like the following ones.
        uid: Owner.
        gid: Group.
        size: What the header says of the data.
        mtime: Seconds since 1970.
        link: Target of a link.
        magic: ``V7``, ``USTAR`` or ``GNU``.
        device: Major and minor number.
        signed: Whether the checksum takes bytes for signed ones.
        raw: Fields by their names, or ``at_<offset>``, to be these bytes and nothing else.
    """
    fields = {
        "name": os.fsencode(name)[:100],
        "mode": octal(mode, 8),
        "uid": octal(uid, 8),
        "gid": octal(gid, 8),
        "size": octal(size, 12) if size < 8**11 else base256(size, 12),
        "mtime": octal(mtime, 12),
        "kind": kind,
        "link": os.fsencode(link)[:100],
        "magic": magic,
        "major": b"" if device is None else octal(device[0], 8),
        "minor": b"" if device is None else octal(device[1], 8),
        "checksum": b" " * 8,
    }
    block = bytearray(BLOCK)
    for field, value in (fields | raw).items():
        offset = int(field[3:]) if field.startswith("at_") else _FIELDS[field][0]
        block[offset : offset + len(value)] = value
    if "checksum" not in raw:
        total = sum(byte - 256 if signed and byte >= 128 else byte for byte in block)
        block[148:156] = b"%06o\0 " % total
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Data up to the end of its last block."""
    return data + bytes(-len(data) % BLOCK)


def entry(name: Text, data: bytes = b"", *, size: int | None = None, **more: object) -> bytes:
    """A header and its data; for the rest, see ``header``."""
    stated = len(data) if size is None else size
    return header(name, size=stated, **more) + padded(data)  # type: ignore[arg-type]


def directory(name: Text, **more: object) -> bytes:
    """A directory."""
    return entry(name, **{"kind": b"5", "mode": 0o755} | more)  # type: ignore[arg-type]


def symlink(name: Text, target: Text, **more: object) -> bytes:
    """A symlink."""
    return entry(name, **{"kind": b"2", "mode": 0o777, "link": target} | more)  # type: ignore[arg-type]


def hardlink(name: Text, target: Text, **more: object) -> bytes:
    """A hard link."""
    return entry(name, **{"kind": b"1", "link": target} | more)  # type: ignore[arg-type]


def archive(*parts: bytes) -> bytes:
    """Everything, and the blocks of zeroes that end an archive."""
    return b"".join(parts) + END


# --- extended headers ----------------------------------------------------------------------------


def record(keyword: Text, value: Text) -> bytes:
    """A record of an extended header: its length counts itself."""
    body = b" " + os.fsencode(keyword) + b"=" + os.fsencode(value) + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


def pax(records: Mapping[str, Text] | Sequence[tuple[str, Text]], kind: bytes = b"x") -> bytes:
    """An extended header for the next entry, or a global one (``kind=b"g"``)."""
    pairs = records.items() if isinstance(records, Mapping) else records
    return raw_pax(b"".join(record(keyword, value) for keyword, value in pairs), kind)


def raw_pax(data: bytes, kind: bytes = b"x") -> bytes:
    """An extended header of any bytes."""
    return entry("pax", data, kind=kind)


def long_name(name: Text) -> bytes:
    """GNU's header for a long name of the next entry."""
    return entry("././@LongLink", os.fsencode(name) + b"\0", kind=b"L", magic=GNU)


def long_link(target: Text) -> bytes:
    """GNU's header for a long link target of the next entry."""
    return entry("././@LongLink", os.fsencode(target) + b"\0", kind=b"K", magic=GNU)


def named(name: Text, data: bytes = b"", **more: object) -> bytes:
    """An entry with a name of any length."""
    return pax({"path": name}) + entry("short", data, **more)  # type: ignore[arg-type]


# --- sparse files --------------------------------------------------------------------------------


def old_sparse(name: Text, size: int, segments: Sequence[Segment], data: bytes) -> bytes:
    """GNU tar's own format: a map in the header, and in blocks behind it."""
    numbers = [octal(offset, 12) + octal(length, 12) for offset, length in segments]
    first, rest = numbers[:4], numbers[4:]
    blocks = [rest[at : at + 21] for at in range(0, len(rest), 21)]
    head = header(
        name,
        kind=b"S",
        size=len(data),
        magic=GNU,
        at_386=b"".join(first),
        at_482=b"\1" if blocks else b"\0",
        at_483=octal(size, 12) if size < 8**11 else base256(size, 12),
    )
    extensions = b"".join(
        b"".join(block).ljust(504, b"\0") + (b"\0" if block is blocks[-1] else b"\1") + bytes(7)
        for block in blocks
    )
    return head + extensions + padded(data)


def sparse_0_0(name: Text, size: int, segments: Sequence[Segment], data: bytes) -> bytes:
    """pax, with a pair of records for every segment."""
    records = [("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", str(len(segments)))]
    for offset, length in segments:
        records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(length))]
    return pax(records) + entry(name, data)


def sparse_0_1(
    name: Text, size: int, segments: Sequence[Segment], data: bytes, **more: str
) -> bytes:
    """pax, with the map in one record, and the name in another."""
    records = {
        "GNU.sparse.size": str(size),
        "GNU.sparse.numblocks": str(len(segments)),
        "GNU.sparse.name": name,
        "GNU.sparse.map": ",".join(f"{offset},{length}" for offset, length in segments),
    }
    return pax(records | more) + entry("GNUSparseFile.1/other", data)


def sparse_1_0(
    name: Text,
    size: int,
    segments: Sequence[Segment],
    data: bytes,
    *,
    sparse_map: bytes | None = None,
) -> bytes:
    """pax, with the map in front of the data."""
    if sparse_map is None:
        lines = [len(segments), *(number for segment in segments for number in segment)]
        sparse_map = b"".join(b"%d\n" % line for line in lines)
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    return pax(records) + entry("GNUSparseFile.1/other", padded(sparse_map) + data)


# --- extended attributes -------------------------------------------------------------------------


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access control list of (tag, permissions, id) as setxattr(2) takes it."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)
