# SPDX-License-Identifier: LGPL-2.1-or-later
"""The inodes of an open file system: numbers, fields, and the blocks that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtlayer.layer.ext4.attributes import write_attributes
from virtlayer.layer.ext4.format import FIXED_TIME
from virtlayer.layer.ext4.inode import INODE_SIZE, InodeFields
from virtlayer.layer.ext4.library import FilesystemFull, check, ffi, lib

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVERYTHING = 2**64 - 1


class Inodes:
    """The inodes of a file system.

    Args:
        filesystem: An open ext2_filsys with its bitmaps.
    """

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem
        self._last = int(filesystem.super.s_first_ino) - 1
        self._number = ffi.new("ext2_ino_t *")
        self._physical = ffi.new("blk64_t *")

    def take(self, *, is_directory: bool = False) -> int:
        """Take a free inode, one after the last one taken where there is one.

        Raises:
            FilesystemFull: None is free.
        """
        superblock = self._fs.super
        start, end = self._last + 1, superblock.s_inodes_count
        bitmap = self._fs.inode_map
        code = 1
        if start <= end:
            code = lib.ext2fs_find_first_zero_inode_bitmap2(bitmap, start, end, self._number)
        if code:
            first = superblock.s_first_ino
            code = lib.ext2fs_find_first_zero_inode_bitmap2(bitmap, first, end, self._number)
        if code:
            raise FilesystemFull(lib.EXT2_ET_INODE_ALLOC_FAIL)
        self._last = int(self._number[0])
        lib.ext2fs_inode_alloc_stats2(self._fs, self._last, 1, is_directory)
        return self._last

    def read(self, number: int) -> InodeFields:
        """The fields of an inode."""
        raw = bytearray(INODE_SIZE)
        pointer = ffi.from_buffer("struct ext2_inode *", raw)
        check(lib.ext2fs_read_inode_full(self._fs, number, pointer, INODE_SIZE))
        return InodeFields(raw)

    def store(self, number: int, inode: InodeFields) -> None:
        """Write fields that were read and changed."""
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(lib.ext2fs_write_inode_full(self._fs, number, pointer, INODE_SIZE))

    def write(self, number: int, inode: bytes, attributes: Mapping[bytes, bytes]) -> None:
        """Write a new inode, with its extended attributes."""
        pointer = ffi.cast("struct ext2_inode *", ffi.from_buffer(inode))
        check(lib.ext2fs_write_inode_full(self._fs, number, pointer, INODE_SIZE))
        if attributes:
            write_attributes(self._fs, number, attributes)

    def release(self, number: int, *, is_directory: bool) -> None:
        """Take one name from an inode, and free it with the last one."""
        inode = self.read(number)
        if inode.links > 1 and not is_directory:
            inode.links -= 1
            self.store(number, inode)
            return
        self.free_attributes(number, inode)
        self.free_blocks(number, inode)
        inode.set_deleted(FIXED_TIME)
        self.store(number, inode)
        lib.ext2fs_inode_alloc_stats2(self._fs, number, -1, is_directory)

    def free_attributes(self, number: int, inode: InodeFields) -> None:
        """Free the block of the extended attributes, where there is one."""
        raw = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(
            lib.ext2fs_free_ext_attr(self._fs, number, ffi.cast("struct ext2_inode_large *", raw))
        )

    def has_blocks(self, inode: InodeFields) -> bool:
        """Whether i_block leads to blocks, and is not a symlink's target or a device number."""
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        return bool(lib.ext2fs_inode_has_valid_blocks2(self._fs, pointer))

    def block_of(self, number: int, inode: InodeFields, logical: int) -> int:
        """The block on the disk that holds a block of the file."""
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(
            lib.ext2fs_bmap2(
                self._fs, number, pointer, ffi.NULL, 0, logical, ffi.NULL, self._physical
            )
        )
        return int(self._physical[0])

    def free_blocks(self, number: int, inode: InodeFields) -> None:
        """Free the blocks of a file and of its extent tree."""
        if self.has_blocks(inode):
            pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
            check(lib.ext2fs_punch(self._fs, number, pointer, ffi.NULL, 0, _EVERYTHING))
