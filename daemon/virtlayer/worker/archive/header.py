# SPDX-License-Identifier: LGPL-2.1-or-later
"""One header block of a tar archive.

Formats: POSIX.1-2024, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; star(5).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

BLOCK = 512

_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_STAR_TRAILER = b"tar\0"
_BLANKS = b" \0"


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
    _check_sum(block)
    kind = block[156:157]
    name = _text(block[:100])
    magic = block[257:265]
    major = minor = 0
    if magic[:6] == _USTAR or magic == _GNU:
        if kind in b"34":
            major = number(block[329:337], "devmajor")
            minor = number(block[337:345], "devminor")
        # GNU keeps other things where POSIX has the prefix, and star two times in its end.
        if magic[:6] == _USTAR and block[345]:
            end = 476 if block[508:] == _STAR_TRAILER else 500
            name = _text(block[345:end]) + b"/" + name
    size = number(block[124:136], "size")
    if size < 0:
        raise BadHeader(f"the size is {size}")
    return Header(
        name,
        number(block[100:108], "mode"),
        number(block[108:116], "uid"),
        number(block[116:124], "gid"),
        size,
        number(block[136:148], "mtime"),
        kind,
        _text(block[157:257]),
        major,
        minor,
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


def _check_sum(block: bytes) -> None:
    """The sum counts its own field as blanks. Some old writers took bytes for signed."""
    stated = number(block[148:156], "checksum")
    rest = block[:148] + block[156:]
    total = sum(rest) + 8 * 0x20
    if stated == total:
        return
    signed = total - 256 * sum(1 for byte in rest if byte >= 0x80)
    if stated != signed:
        raise BadHeader(f"the header's checksum is {stated}, its bytes add up to {total}")
