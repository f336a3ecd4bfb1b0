# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what a kernel module says about itself: the section ``.modinfo`` of its ELF file.

Only the names of the modules that it needs are read. An offset or a size that leads out of the file
makes the module unusable.
"""

from __future__ import annotations

import struct

_MAGIC = b"\x7fELF\x02"
"""Of a 64-bit file."""
_ORDERS = {1: "<", 2: ">"}
_HEADER = "16xHHIQQQIHHHHHH"
_SECTION = "IIQQQQIIQQ"
_SECTION_NAME = b".modinfo"
_DEPENDS = b"depends="
_MODULES_LIMIT = 256


class NotAModule(Exception):
    """A file is not a kernel module; the text is the end of a sentence about it."""


def needed_modules(module: bytes) -> list[str]:
    """Return the names of the modules that a module needs.

    Args:
        module: The content of its file, decompressed.

    Raises:
        NotAModule: It is not an ELF file with that section, or says something invalid.
    """
    for entry in _section(module).split(b"\0"):
        if entry.startswith(_DEPENDS):
            try:
                names = entry.removeprefix(_DEPENDS).decode("ascii").split(",")
            except UnicodeDecodeError:
                raise NotAModule("it needs modules whose names are not ASCII") from None
            if len(names) > _MODULES_LIMIT:
                raise NotAModule(f"it needs more than {_MODULES_LIMIT} modules")
            return [name for name in names if name]
    return []


def _section(module: bytes) -> bytes:
    order = _ORDERS.get(module[5]) if module.startswith(_MAGIC) and len(module) > 5 else None
    if order is None:
        raise NotAModule("it is not a kernel module (a 64-bit ELF file)")
    header = struct.Struct(order + _HEADER)
    section = struct.Struct(order + _SECTION)
    try:
        fields = header.unpack_from(module)
        table, size, count, names_at = fields[5], *fields[10:13]
        if size != section.size:
            raise NotAModule("its section headers have an unknown size")
        names = _content(module, section, table + names_at * size)
        for number in range(count):
            place = table + number * size
            start = section.unpack_from(module, place)[0]
            if names[start:].startswith(_SECTION_NAME + b"\0"):
                return _content(module, section, place)
    except struct.error:
        raise NotAModule("it is cut off, or its headers are damaged") from None
    raise NotAModule("it has no section .modinfo")


def _content(module: bytes, section: struct.Struct, place: int) -> bytes:
    offset, size = section.unpack_from(module, place)[4:6]
    if offset + size > len(module):
        raise NotAModule("it is cut off, or its headers are damaged")
    return module[offset : offset + size]
