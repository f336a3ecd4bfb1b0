# SPDX-License-Identifier: LGPL-2.1-or-later
"""The formats whose images can be overlays of a qcow2: qcow2 itself, the old qcow, and qed.

qcow2 is specified by qemu's docs/interop/qcow2.txt, qed by docs/interop/qed_spec.txt, qcow by
block/qcow.c. As qemu does, bytes behind the end of the file are read as zero.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from virtlayer.protocol.image_headers import NAME_LIMIT, ImageHeader

_READ_AT_ONCE = 4096
_QCOW, _QED = b"QFI\xfb", b"QED\0"
_VERSION_AT = 4
_QCOW_BACKING = struct.Struct(">8xQI")  # offset and size of the name
_CLUSTER_BITS_AT = 20
_LEAST_CLUSTER_BITS, _MOST_CLUSTER_BITS = 9, 21
_LENGTH_2, _LEAST_LENGTH_3, _LENGTH_AT = 72, 104, 100
_EXTENSION = struct.Struct(">II")  # type and length
_END, _BACKING_FORMAT, _DATA_FILE = 0, 0xE2792ACA, 0x44415441
_EXTENSIONS_LIMIT = 64
"""qemu writes three or four; a header could have 260,000 empty ones."""
_FARTHEST = 1 << 40
"""Where the name of a backing file can be, in bytes; qemu itself writes it near the beginning."""
_FORMAT_LIMIT = 15
"""Bytes of a format's name, as in qemu."""
_QED_HEADER = struct.Struct("<4sIIIQQQQQII")
_QED_HAS_BACKING, _QED_BACKING_IS_RAW = 1 << 0, 1 << 2


class _Unclear(Exception):
    """A header that cannot be understood; the text is the end of a sentence about the file."""


def read_header(file: int) -> ImageHeader:
    """Read the header of an image file.

    Args:
        file: A descriptor; stays the caller's.
    """
    try:
        image = _Image(file)
        magic = image.bytes(0, 4)
        if magic == _QED:
            return _qed(image)
        if magic != _QCOW:
            return ImageHeader()
        match image.number(_VERSION_AT):
            case 1:
                return _qcow(image)
            case 2 | 3 as version:
                return _qcow2(image, version)
            case version:
                raise _Unclear(f"has the unknown qcow2 version {version}")
    except _Unclear as error:
        return ImageHeader(problem=str(error))
    except OSError as error:
        return ImageHeader(problem=f"cannot be read: {error.strerror}")


class _Image:
    """The first bytes of a file, and others where they are asked for."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._head = os.pread(file, _READ_AT_ONCE, 0).ljust(_READ_AT_ONCE, b"\0")

    def bytes(self, offset: int, size: int) -> bytes:
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        return os.pread(self._file, size, offset).ljust(size, b"\0")

    def number(self, offset: int) -> int:
        return int.from_bytes(self.bytes(offset, 4))

    def text(self, offset: int, size: int, limit: int, what: str) -> str:
        if size > limit or offset > _FARTHEST:
            raise _Unclear(f"has an invalid name of {what}: {size} bytes at offset {offset}")
        # To qemu, a name ends at its first NUL.
        return self.bytes(offset, size).split(b"\0")[0].decode(errors="surrogateescape")


def _qcow(image: _Image) -> ImageHeader:
    offset, size = _QCOW_BACKING.unpack(image.bytes(0, _QCOW_BACKING.size))
    return ImageHeader("qcow", backing=_backing(image, offset, size))


def _qcow2(image: _Image, version: int) -> ImageHeader:
    cluster_bits = image.number(_CLUSTER_BITS_AT)
    if not _LEAST_CLUSTER_BITS <= cluster_bits <= _MOST_CLUSTER_BITS:
        raise _Unclear(f"has qcow2 clusters of 2^{cluster_bits} bytes")
    cluster = 1 << cluster_bits
    length = _LENGTH_2 if version == 2 else image.number(_LENGTH_AT)
    if version > 2 and not _LEAST_LENGTH_3 <= length <= cluster:
        raise _Unclear(f"has a qcow2 header of {length} bytes")
    offset, size = _QCOW_BACKING.unpack(image.bytes(0, _QCOW_BACKING.size))
    if offset > cluster:
        raise _Unclear(f"has the name of a backing file at offset {offset}, outside its header")
    # Extensions are between the header and the name, or the end of the first cluster.
    extensions = dict(_extensions(image, length, offset or cluster))
    return ImageHeader(
        "qcow2",
        backing=_backing(image, offset, size),
        backing_format=_text_of(image, extensions, _BACKING_FORMAT, _FORMAT_LIMIT, "a format"),
        data_file=_text_of(image, extensions, _DATA_FILE, NAME_LIMIT, "a data file"),
    )


def _extensions(image: _Image, position: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The header extensions: the type, and where the content is."""
    for _ in range(_EXTENSIONS_LIMIT):
        if position >= end:
            return
        kind, length = _EXTENSION.unpack(image.bytes(position, _EXTENSION.size))
        position += _EXTENSION.size
        if kind == _END:
            return
        if length > end - position:
            raise _Unclear("has a qcow2 header extension that exceeds its header")
        yield kind, (position, length)
        position += length + -length % 8
    raise _Unclear(f"has more than {_EXTENSIONS_LIMIT} qcow2 header extensions")


def _text_of(
    image: _Image, extensions: dict[int, tuple[int, int]], kind: int, limit: int, what: str
) -> str:
    if kind not in extensions:
        return ""
    offset, size = extensions[kind]
    return image.text(offset, size, limit, what)


def _backing(image: _Image, offset: int, size: int) -> str:
    return image.text(offset, size, NAME_LIMIT, "a backing file") if offset else ""


def _qed(image: _Image) -> ImageHeader:
    header = _QED_HEADER.unpack(image.bytes(0, _QED_HEADER.size))
    features, offset, size = header[4], *header[-2:]
    if not features & _QED_HAS_BACKING:
        return ImageHeader("qed")
    return ImageHeader(
        "qed",
        backing=image.text(offset, size, NAME_LIMIT, "a backing file"),
        backing_format="raw" if features & _QED_BACKING_IS_RAW else "",
    )
