# SPDX-License-Identifier: LGPL-2.1-or-later
"""Extended headers (POSIX.1-2024, "pax Header Block" and "pax Extended Header")."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from virtlayer.worker.problems import quoted

if TYPE_CHECKING:
    from virtlayer.worker.archive.header import Header

_STAR_ATTRIBUTE = b"SCHILY.xattr."
_LIBARCHIVE_ATTRIBUTE = b"LIBARCHIVE.xattr."
_SPARSE = b"GNU.sparse."
_PREFIXES = (_STAR_ATTRIBUTE, _LIBARCHIVE_ATTRIBUTE, _SPARSE)
_FIELDS = (b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime")
GLOBAL_FIELDS = (b"uid", b"gid", b"mtime")
"""The fields that a global header may set. Sizes and names are not among them, because Docker and
containerd ignore global headers, and must see the same entries."""

_TIME = re.compile(rb"(-?)0*([0-9]{1,20})(?:\.([0-9]{0,64}))?")
_NUMBER = re.compile(rb"0*([0-9]{1,20})")
_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")


class BadRecord(Exception):
    """An extended header that breaks its format."""


class Fields(NamedTuple):
    """The fields of an entry that an extended header may override."""

    uid: int
    gid: int
    size: int
    mtime: int
    """Nanoseconds since 1970."""


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of an extended header: ``length keyword=value newline``, one after the other.

    Unsupported keywords are left out. Where GNU.sparse 0.0 repeats keywords, their values are
    joined as GNU.sparse 0.1 has them.

    Raises:
        BadRecord: A record breaks that format.
    """
    records: dict[bytes, bytes] = {}
    sparse_map: list[bytes] = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        digits = data[position:blank]
        if blank < 0 or not digits.isdigit():
            # Some writers pad the last record's block and count the padding.
            if not data[position:].strip(b"\0"):
                break
            raise BadRecord("an extended header record without a length")
        end = position + int(digits)
        keyword, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= blank + 1 or not equals or not keyword or data[end - 1] != 10:
            raise BadRecord("an extended header record with a wrong length")
        if b"\0" in keyword:
            raise BadRecord(f"an extended header whose keyword {quoted(keyword)} contains a NUL")
        if keyword in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse_map.append(value)
        elif keyword in _FIELDS or keyword.startswith(_PREFIXES):
            records[keyword] = value
        position = end
    if sparse_map:
        records[b"GNU.sparse.map"] = b",".join(sparse_map)
    return records


def override(header: Header, records: Mapping[bytes, bytes]) -> Fields:
    """The fields of a header, overridden by its extended headers.

    Raises:
        BadRecord: A value is not of its keyword's type.
    """
    mtime = records.get(b"mtime")
    return Fields(
        _id(records.get(b"uid"), header.uid, "uid"),
        _id(records.get(b"gid"), header.gid, "gid"),
        _size(records.get(b"size"), header.size),
        parse_time(mtime) if mtime else header.mtime * 1_000_000_000,
    )


def parse_time(text: bytes) -> int:
    """Nanoseconds since 1970 of a decimal number of seconds.

    Raises:
        BadRecord: It is not one.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise BadRecord(f"the time is not a number: {quoted(text)}")
    sign, seconds, fraction = match.groups()
    nanoseconds = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


def parse_number(text: bytes, what: str) -> int:
    """A decimal number without a sign.

    Raises:
        BadRecord: It is not one.
    """
    match = _NUMBER.fullmatch(text)
    if not match:
        raise BadRecord(f"the {what} is not a number: {quoted(text)}")
    return int(match[1])


def attributes(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The extended attributes, as star and as libarchive write them.

    Raises:
        BadRecord: A value is not in base 64 where libarchive says so.
    """
    found: dict[bytes, bytes] = {}
    for keyword, value in records.items():
        if keyword.startswith(_STAR_ATTRIBUTE):
            found[keyword[len(_STAR_ATTRIBUTE) :]] = value
        elif keyword.startswith(_LIBARCHIVE_ATTRIBUTE):
            name = _unquoted(keyword[len(_LIBARCHIVE_ATTRIBUTE) :])
            # libarchive writes both forms, with the same value.
            found.setdefault(name, _base64(value))
    return found


def _unquoted(name: bytes) -> bytes:
    """A name of libarchive's, with percent signs as in a URL."""
    return _QUOTED.sub(lambda quoted: binascii.unhexlify(quoted[1]), name)


def _base64(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except binascii.Error as error:
        raise BadRecord(f"an extended attribute that is not valid base64 ({error})") from error


def _id(record: bytes | None, field: int, what: str) -> int:
    value = parse_number(record, what) if record else field
    # 2**32 - 1 is how chown(2) says "leave it": no file can belong to it.
    if not 0 <= value < 2**32 - 1:
        raise BadRecord(f"the {what} {value} is invalid")
    return value


def _size(record: bytes | None, field: int) -> int:
    return parse_number(record, "size") if record else field
