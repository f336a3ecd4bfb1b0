# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file system of an image, opened to read files of it."""

from __future__ import annotations

from collections.abc import Iterator

from virtlayer.worker.ext4.filesystem import Ext4Filesystem
from virtlayer.worker.ext4.library import check, ffi, lib

_PIECE = 1024 * 1024
"""Bytes; a multiple of the block size."""


class Ext4Image(Ext4Filesystem):
    """The file system of an image; nothing in it is changed."""

    def file_size(self, file: int) -> int:
        """The size of a file in bytes.

        Raises:
            Ext4Error: It cannot be read.
        """
        found = ffi.new("struct vl_node *")
        check(lib.vl_read_node(self._writer, file, found))
        return found.size

    def pieces(self, file: int) -> Iterator[bytes]:
        """The content of a regular file, in pieces.

        Raises:
            Ext4Error: It cannot be read, or is not a regular file.
        """
        content, length = ffi.new("char[]", _PIECE), ffi.new("size_t *")
        offset = 0
        while True:
            check(lib.vl_read_part(self._writer, file, offset, content, _PIECE, length))
            if not length[0]:
                return
            yield bytes(ffi.buffer(content, length[0]))
            offset += length[0]
            if length[0] < _PIECE:
                return
