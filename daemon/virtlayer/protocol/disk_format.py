# SPDX-License-Identifier: LGPL-2.1-or-later
"""Recognizes the format of a disk, and references to other files, by its first bytes.

The format is qcow2's (qemu, docs/interop/qcow2.txt, "Header" and "Header extensions"). A disk that
is not a qcow2 is raw, if libvirt or qemu would not recognize another format: some of these also
name files of the host.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER_READ = 64 * 1024
"""How many of a disk's first bytes are looked at; a header with its extensions has one cluster."""

_QCOW2 = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")  # magic, version, backing file's offset and size
_INCOMPATIBLE = struct.Struct(">Q")
_INCOMPATIBLE_AT, _LENGTH_AT = 72, 100
_LENGTH_2 = 72
"""Of the header of version 2."""
_SMALLEST_LENGTH_3 = 104
_CORRUPT, _DATA_FILE, _KNOWN = 1 << 1, 1 << 2, (1 << 5) - 1
_EXTENSION = struct.Struct(">II")
_END, _DATA_FILE_NAME, _BACKING_FORMAT = 0, 0x44415441, 0xE2792ACA

_OTHERS = {
    b"QED\0": "QED",
    b"KDMV": "VMDK",
    b"COWD": "VMDK",
    b"# Disk DescriptorFile": "VMDK",
    b"<<< ": "VDI",
    b"vhdxfile": "VHDX",
    b"conectix": "VPC",
    b"WithoutFreeSpace": "Parallels",
    b"WithouFreSpacExt": "Parallels",
    b"LUKS\xba\xbe": "LUKS",
    b"Bochs Virtual HD Image": "Bochs",
    b"#!/bin/sh\n#V2.0 Format": "cloop",
    b"OOOM": "COW",
}
_VDI_MAGIC_AT = 64
_VDI_MAGIC = b"\x7f\x10\xda\xbe"


class BadDisk(Exception):
    """A disk that is refused; the text is the end of a sentence about it."""


def disk_format(head: bytes) -> str:
    """The format of a disk, ``qcow2`` or ``raw``.

    Args:
        head: Its first ``HEADER_READ`` bytes, or all.

    Raises:
        BadDisk: It is of another format, is damaged, or refers to something outside itself.
    """
    if head.startswith(_QCOW2):
        _check_qcow2(head)
        return "qcow2"
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise BadDisk(f"has the unsupported format {name}. Supported: qcow2, raw")
    if head[_VDI_MAGIC_AT:].startswith(_VDI_MAGIC):
        raise BadDisk("has the unsupported format VDI. Supported: qcow2, raw")
    return "raw"


def _check_qcow2(head: bytes) -> None:
    if len(head) < _SMALLEST_LENGTH_3:
        raise BadDisk("ends within its qcow2 header")
    _, version, backing_at, backing_size = _HEADER.unpack_from(head)
    if version not in (2, 3):
        raise BadDisk(f"has the unknown qcow2 version {version}")
    if backing_at or backing_size:
        raise BadDisk("is an overlay of another image")
    length = _LENGTH_2
    if version == 3:
        _check_features(_INCOMPATIBLE.unpack_from(head, _INCOMPATIBLE_AT)[0])
        length = struct.unpack_from(">I", head, _LENGTH_AT)[0]
        if length < _SMALLEST_LENGTH_3 or length % 8:
            raise BadDisk(f"has a qcow2 header of {length} bytes")
    for kind in _extensions(head, length):
        if kind == _DATA_FILE_NAME:
            raise BadDisk("has its data in another file")
        if kind == _BACKING_FORMAT:
            raise BadDisk("names the format of a backing image")


def _check_features(incompatible: int) -> None:
    if incompatible & _DATA_FILE:
        raise BadDisk("has its data in another file")
    if incompatible & _CORRUPT:
        raise BadDisk("is marked as corrupt")
    if incompatible & ~_KNOWN:
        raise BadDisk(f"has unknown qcow2 features ({incompatible:#x})")


def _extensions(head: bytes, position: int) -> Iterator[int]:
    while True:
        if position + _EXTENSION.size > len(head):
            raise BadDisk("has qcow2 header extensions without an end")
        kind, length = _EXTENSION.unpack_from(head, position)
        if kind == _END:
            return
        yield kind
        position += _EXTENSION.size + length + -length % 8
