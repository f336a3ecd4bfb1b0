# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decompresses the modules of a kernel, with a limit of their size."""

from __future__ import annotations

import lzma
import zlib

import zstandard

from virtlayer.sizes import MIB, human_size

MODULE_LIMIT = 32 * MIB
"""Bytes of a module, unpacked; Debian's largest has 9 MB."""
SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
_MEMORY = 128 * MIB
"""Bytes that a decompressor may use: twice the largest dictionary of the kernel's makefiles."""
_GZIP = 16 + zlib.MAX_WBITS


class CannotUnpack(Exception):
    """A module cannot be decompressed; the text is the end of a sentence about it."""


def unpacked(name: str, data: bytes) -> bytes:
    """Return a module, decompressed as the suffix of its name says.

    Args:
        name: The name of its file, with one of ``SUFFIXES``.
        data: The content of its file.

    Raises:
        CannotUnpack: It is damaged or too large.
    """
    try:
        module = _unpacked(name, data)
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise CannotUnpack(f"its compressed data are damaged ({error})") from error
    if len(module) > MODULE_LIMIT:
        raise CannotUnpack(f"it unpacks to more than {human_size(MODULE_LIMIT)}")
    return module


def _unpacked(name: str, data: bytes) -> bytes:
    limit = MODULE_LIMIT + 1
    if name.endswith(".xz"):
        xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        return _whole(xz.decompress(data, limit), limit, is_whole=xz.eof)
    if name.endswith(".gz"):
        gzip = zlib.decompressobj(_GZIP)
        return _whole(gzip.decompress(data, limit), limit, is_whole=gzip.eof)
    if name.endswith(".zst"):
        zstd = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
        with zstd.stream_reader(data) as reader:
            return reader.read(limit)
    return data


def _whole(module: bytes, limit: int, *, is_whole: bool) -> bytes:
    if len(module) < limit and not is_whole:
        raise CannotUnpack("its compressed data end too early")
    return module
