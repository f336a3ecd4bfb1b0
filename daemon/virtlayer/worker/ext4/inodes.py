# SPDX-License-Identifier: LGPL-2.1-or-later
"""The inodes of an open file system: numbers, fields, and the blocks that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtlayer.worker.ext4.attributes import write_attributes
from virtlayer.worker.ext4.format import FIXED_TIME
from virtlayer.worker.ext4.inode import INODE_SIZE, InodeFields
from virtlayer.worker.ext4.library import check, ffi, lib

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVERYTHING = 2**64 - 1

assert lib.VL_INODE_SIZE == INODE_SIZE


class Inodes:
    """The inodes of a file system.

    Args:
        filesystem: An open ext2_filsys with its bitmaps.
        room: Its struct vl_room; which inode is the next one is for this class.
    """

    def __init__(self, filesystem: Any, room: Any) -> None:
        self._fs = filesystem
        self._room = room
        room.inode = filesystem.super.s_first_ino - 1
        self._physical = ffi.new("blk64_t *")

    def take(self) -> int:
        """Take a free inode, one after the last one taken where there is one.

        Raises:
            FilesystemFull: None is free.
        """
        check(lib.vl_take_inode(self._fs, self._room, 0))
        return int(self._room.inode)

    def add(
        self, inode: bytes, attributes: Mapping[bytes, bytes], *, is_directory: bool = False
    ) -> int:
        """Take a free inode, and write it with its extended attributes.

        Raises:
            FilesystemFull: None is free.
        """
        check(lib.vl_add_inode(self._fs, self._room, inode, is_directory))
        return self._dressed(attributes)

    def add_file(self, inode: bytes, attributes: Mapping[bytes, bytes], content: memoryview) -> int:
        """The same for a regular file whose content the room has blocks for.

        Args:
            inode: That of an empty file.
            attributes: Its extended attributes.
            content: All of it.

        Raises:
            FilesystemFull: No inode is free.
        """
        data = ffi.from_buffer(content)
        check(lib.vl_add_file(self._fs, self._room, inode, data, len(content)))
        return self._dressed(attributes)

    def _dressed(self, attributes: Mapping[bytes, bytes]) -> int:
        """The inode that was taken last, with these extended attributes."""
        number = int(self._room.inode)
        if attributes:
            write_attributes(self._fs, number, attributes)
        return number

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
