# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads header blocks without special cases, which are nearly all of them, in C.

What a header means is said in ``header``. A plain block gives the same result in both; ``header``
reads all others, and reports the errors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from virtlayer.worker.archive._plain import ffi, lib
from virtlayer.worker.archive.header import BLOCK

_FIELDS = struct.Struct("=qqqqqHHH")
"""The declarations of ``plain.h``."""

assert lib.VL_TAR_BLOCK == BLOCK

type Plain = tuple[bytes, bytes, int, int, int, int, int, bytes]
"""Name, type, mode, uid, gid, size, mtime in seconds since 1970, link."""


def plain_reader() -> Callable[[bytes], Plain | None]:
    """A function that reads the fields of a plain header, for one thread.

    Its argument is a header of ``BLOCK`` bytes. It returns None where they are not plain.
    Numbers are octal and so not negative; devmajor and devminor are not read.
    """
    header = ffi.new("struct vl_plain *")
    read, unpack, fields = lib.vl_read_plain, _FIELDS.unpack_from, ffi.buffer(header)

    def read_plain(block: bytes) -> Plain | None:
        if not read(block, header):
            return None
        mode, uid, gid, size, mtime, name_length, prefix_length, link_length = unpack(fields)
        name = block[:name_length]
        if prefix_length:
            name = block[345 : 345 + prefix_length] + b"/" + name
        link = block[157 : 157 + link_length] if link_length else b""
        return name, block[156:157], mode, uid, gid, size, mtime, link

    return read_plain
