# SPDX-License-Identifier: LGPL-2.1-or-later
"""The four ways in which GNU tar says where a file has holes (GNU tar manual, "Sparse Formats")."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from virtlayer.worker.archive.header import BLOCK, BadHeader, number
from virtlayer.worker.archive.pax import parse_number
from virtlayer.worker.problems import TooLarge, quoted

_LONGEST_LINE = 21
"""Bytes of a number in a map of GNU.sparse 1.0, with its newline."""
_FILE_LIMIT = 2**63 - 1


class BadMap(Exception):
    """A sparse map that is invalid."""


class Layout(NamedTuple):
    """Where the data of a sparse file is."""

    size: int
    segments: tuple[tuple[int, int], ...]
    """Offset and length of each stretch of data, ascending, without empty ones."""
    name: bytes = b""
    """The file's name, where the map has it."""


def old_gnu(header: bytes, more: Callable[[], bytes], limit: int) -> Layout:
    """The map of a type S entry: four segments in the header, 21 in each block that follows.

    Args:
        header: The header block.
        more: Reads the next block.
        limit: The most segments.

    Raises:
        BadMap: The map is invalid.
        TooLarge: It has more segments.
    """
    numbers = _numbers(header, 386, 4)
    extended = header[482]
    while extended:
        _check_count(len(numbers) // 2, limit)
        block = more()
        numbers += _numbers(block, 0, 21)
        extended = block[504]
    _check_count(len(numbers) // 2, limit)
    return _layout(number(header[483:495], "real size"), numbers)


def gnu_0_x(records: Mapping[bytes, bytes], limit: int) -> Layout:
    """The maps of GNU.sparse 0.0 and 0.1, both as ``GNU.sparse.map``; see ``old_gnu``."""
    _check_count(records.get(b"GNU.sparse.map", b"").count(b",") // 2, limit)
    numbers = [
        parse_number(text, "sparse map")
        for text in records.get(b"GNU.sparse.map", b"").split(b",")
        if text
    ]
    size = parse_number(records.get(b"GNU.sparse.size", b""), "sparse size")
    return _layout(size, numbers, records.get(b"GNU.sparse.name", b""))


def gnu_1_0(records: Mapping[bytes, bytes], more: Callable[[], bytes], limit: int) -> Layout:
    """The map of GNU.sparse 1.0: decimal numbers on lines, in the first blocks of the data.

    Args:
        records: The extended header.
        more: Reads the next block of the data.
        limit: The most segments.

    Raises:
        BadMap: The map is invalid.
        TooLarge: It has more segments.
    """
    version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    if version != (b"1", b"0"):
        raise BadMap(f"a sparse map with the unknown version {quoted(b'.'.join(version))}")
    text = more()
    while b"\n" not in text:
        if len(text) > BLOCK:
            raise BadMap("the sparse map has no length")
        text += more()
    count = parse_number(text.split(b"\n", 1)[0], "length of the sparse map")
    _check_count(count, limit)
    blocks = [text]
    lines = text.count(b"\n")
    while lines < 1 + count * 2:
        if len(blocks) * BLOCK > (2 + count * 2) * _LONGEST_LINE + BLOCK:
            raise BadMap("the sparse map has lines that are too long for a number")
        blocks.append(more())
        lines += blocks[-1].count(b"\n")
    numbers = [
        parse_number(line, "sparse map")
        for line in b"".join(blocks).split(b"\n")[1 : 1 + count * 2]
    ]
    size = parse_number(records.get(b"GNU.sparse.realsize", b""), "sparse size")
    return _layout(size, numbers, records.get(b"GNU.sparse.name", b""))


def _check_count(segments: int, limit: int) -> None:
    if segments > limit:
        raise TooLarge(f"a sparse file of more than {limit} segments")


def _numbers(block: bytes, start: int, segments: int) -> list[int]:
    """Offsets and lengths up to the first segment that is not there.

    For GNU tar, a length that begins with a NUL ends the map, for Go an offset that does.
    """
    numbers: list[int] = []
    for at in range(start, start + segments * 24, 24):
        offset, length = block[at : at + 12], block[at + 12 : at + 24]
        if not offset[0] and not length[0]:
            break
        if not offset[0] or not length[0]:
            raise BadMap("the sparse map has a number that begins with a NUL")
        try:
            numbers += number(offset, "sparse map"), number(length, "sparse map")
        except BadHeader as error:
            raise BadMap(str(error)) from error
    return numbers


def _layout(size: int, numbers: list[int], name: bytes = b"") -> Layout:
    if len(numbers) % 2:
        raise BadMap("the sparse map has an offset without a length")
    segments = []
    end = 0
    for offset, length in itertools.batched(numbers, 2):
        if offset < end or length < 0:
            raise BadMap("the sparse map's segments overlap or go backwards")
        end = offset + length
        if length:
            segments.append((offset, length))
    if not end <= size <= _FILE_LIMIT:
        raise BadMap(f"the sparse map ends at {end}, but the file at {size}")
    return Layout(size, tuple(segments), name)
