# SPDX-License-Identifier: LGPL-2.1-or-later
"""One header block of a tar archive.

Formats: POSIX.1-2024, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; star(5).
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple
from zlib import adler32

BLOCK = 512

_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_STAR_TRAILER = b"tar\0"
_BLANKS = b" \0"
_LAYOUT = struct.Struct(
    "100s8s8s8s12s12s8sc100s"  # name mode uid gid size mtime checksum type link
    "8s64s8s8s155s12x"  # magic owners devmajor devminor prefix
)


class BadHeader(Exception):
    """A header block that is none, or has a field that makes no sense."""


class Header(NamedTuple):
    """The fields of a header block, before any extension overrides them."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    """Seconds since 1970."""
    type: bytes
    link: bytes
    major: int
    minor: int
    raw: bytes


def parse_header(block: bytes) -> Header:
    """Read a header block.

    Raises:
        BadHeader: The checksum is wrong, or a number is none.
    """
    name, mode, uid, gid, length, mtime, checksum, kind, link, magic, _, major, minor, prefix = (
        _LAYOUT.unpack(block)
    )
    _check_sum(block, checksum)
    device = 0, 0
    name = _text(name)
    if magic[:6] == _USTAR or magic == _GNU:
        if kind in b"34":
            device = number(major, "devmajor"), number(minor, "devminor")
        # GNU keeps other things where POSIX has the prefix, and star two times in its end.
        if magic[:6] == _USTAR and prefix[0]:
            if block[508:] == _STAR_TRAILER:
                prefix = prefix[:131]
            name = _text(prefix) + b"/" + name
    size = number(length, "size")
    if size < 0:
        raise BadHeader(f"the size is {size}")
    return Header(
        name,
        number(mode, "mode"),
        number(uid, "uid"),
        number(gid, "gid"),
        size,
        number(mtime, "mtime"),
        kind,
        _text(link) if link[0] else b"",
        *device,
        block,
    )


def _text(field: bytes) -> bytes:
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


@functools.lru_cache(maxsize=4096)
def number(field: bytes, what: str) -> int:
    """A field's octal number, or the base-256 one of GNU where octal digits do not suffice.

    Raises:
        BadHeader: It is neither; the message says ``what``.
    """
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field)
        bits = len(field) * 8
        # Bit 7 says "base 256", bit 6 is the sign of the two's complement below it.
        return value - (1 << bits) if first & 0x40 else value - (1 << bits - 1)
    digits = field.split(b"\0", 1)[0].strip(_BLANKS)
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadHeader(f"the {what} is not an octal number: {field!r}")
    return int(digits, 8)


def _check_sum(block: bytes, field: bytes) -> None:
    """The sum counts its own field as blanks. Some old writers took bytes for signed."""
    # The low half of an Adler-32 is 1 more than the sum of the bytes, modulo 65521: less than half
    # a block can add up to. It takes a tenth of the time of sum().
    halves = (adler32(block[:256]) & 0xFFFF) - 1 + (adler32(block[256:]) & 0xFFFF) - 1
    total = halves - sum(field) + 8 * 0x20
    if field == b"%06o\0 " % total:  # as nearly everybody writes it
        return
    stated = number(field, "checksum")
    if stated == total:
        return
    signed = total - 256 * sum(1 for byte in block[:148] + block[156:] if byte >= 0x80)
    if stated != signed:
        raise BadHeader(f"the header's checksum is {stated}, its bytes add up to {total}")
