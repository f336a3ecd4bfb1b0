# SPDX-License-Identifier: LGPL-2.1-or-later
"""One header block of a tar archive.

Formats: POSIX.1-2024, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; star(5).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from virtlayer.worker.problems import quoted

BLOCK = 512

_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_STAR_TRAILER = b"tar\0"
_BLANKS = b" \0"
_GNU_TIMES = (slice(345, 357), slice(357, 369))
"""Where GNU has the times of access and of the last change of the inode."""
_PREFIX = slice(345, 500)
_STAR_PREFIX = slice(345, 476)
"""Star has those times behind it."""


class BadHeader(Exception):
    """A block that is not a header, or has an invalid field."""


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
        BadHeader: The checksum is wrong, or a number is invalid.
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
        if prefix := _prefix(block):
            name = prefix + b"/" + name
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


def _prefix(block: bytes) -> bytes:
    """The prefix of the name."""
    if block[257:265] != _GNU:
        return _text(block[_STAR_PREFIX if block[508:] == _STAR_TRAILER else _PREFIX])
    # GNU headers have no prefix. But up to version 1.7, Go's archive/tar wrote one. Later versions
    # read it as a prefix if it cannot be the times that belong there; so does this one.
    prefix = _text(block[_PREFIX])
    has_times = all(_is_time(block[part]) for part in _GNU_TIMES)
    return prefix if prefix.isascii() and not has_times else b""


def _is_time(field: bytes) -> bool:
    """Whether this is a number as Go reads it, or nothing."""
    try:
        return not field[0] or -(2**63) <= number(field, "time") < 2**63
    except BadHeader:
        return False


def _text(field: bytes) -> bytes:
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


@functools.lru_cache(maxsize=4096)
def number(field: bytes, what: str) -> int:
    """A field's octal number, or the base-256 one of GNU where octal digits do not suffice.

    Some writers have NULs in front of the digits, which all readers skip. If they ended the number,
    the size would be 0, and the data would be read as a header.

    Raises:
        BadHeader: It is neither; the message says ``what``.
    """
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field)
        bits = len(field) * 8
        # Bit 7 says "base 256", bit 6 is the sign of the two's complement below it.
        return value - (1 << bits) if first & 0x40 else value - (1 << bits - 1)
    digits = field.lstrip(_BLANKS).split(b"\0", 1)[0].rstrip(_BLANKS)
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadHeader(f"the {what} is not an octal number: {quoted(field)}")
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
        raise BadHeader(f"the checksum of the header is {stated}, but it should be {total}")
