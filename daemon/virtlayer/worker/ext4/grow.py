# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ext4 of ours made larger, offline, with what libext2fs has for that.

libext2fs cannot resize, and resize2fs(8) wants a file or device, which a sandboxed process with an
NBD connection does not have. But the file systems are made here (``format``), in one geometry, so
that little of what resize2fs knows is needed: new groups at the end, their descriptors in the
blocks that were reserved for them (resize_inode), and no block of a file has to move.
"""

from __future__ import annotations

import struct
from typing import Any

from virtlayer.worker.ext4.blocks import BLOCK_SIZE, SECTORS_PER_BLOCK
from virtlayer.worker.ext4.format import RESERVED_PERCENT
from virtlayer.worker.ext4.inode import INODE_SIZE, InodeFields
from virtlayer.worker.ext4.library import Ext4Error, check, ffi, lib

_RESIZE_INODE = 7
_DOUBLY_INDIRECT = 13
"""The place in i_block of the one block pointer that the resize inode has."""
_SMALLEST_GROUP_ROOM = 50
"""Blocks beyond its own tables that the last group has at least, as mke2fs(8) has it."""


class CannotGrow(Exception):
    """The file system cannot have that size.

    Args:
        limit: The largest size that it can have, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


def grow_filesystem(filesystem: Any, size: int) -> None:
    """Make the file system as large as a device that has become larger. It is not flushed.

    Args:
        filesystem: The open ext2_filsys, with its bitmaps.
        size: In bytes. A smaller one than it has changes nothing. Up to 8 MiB at the end stay
            unused where they would not make a group.

    Raises:
        CannotGrow: More group descriptors than there is room for.
        Ext4Error: The file system is damaged, or the device fails.
    """
    superblock = filesystem.super
    old_blocks = int(lib.ext2fs_blocks_count(superblock))
    old_groups = int(filesystem.group_desc_count)
    blocks = _usable_blocks(filesystem, size // BLOCK_SIZE)
    if blocks <= old_blocks:
        return
    groups = -(-blocks // superblock.s_blocks_per_group)
    _reserve_descriptors(filesystem, groups)
    _set_size(filesystem, blocks, groups)
    _extend_last_group(filesystem, old_groups - 1, old_blocks)
    for group in range(old_groups, groups):
        _describe_group(filesystem, group)
    for group in range(old_groups, groups):
        _add_tables(filesystem, group, old_blocks)
    _rewrite_resize_inode(filesystem)
    superblock.s_wtime = filesystem.now
    lib.ext2fs_mark_super_dirty(filesystem)
    lib.ext2fs_mark_bb_dirty(filesystem)
    lib.ext2fs_mark_ib_dirty(filesystem)


def _usable_blocks(filesystem: Any, blocks: int) -> int:
    """Leave out a last group that would have hardly more than its own tables."""
    superblock = filesystem.super
    rest = blocks % int(superblock.s_blocks_per_group)
    tables = 2 + int(filesystem.inode_blocks_per_group)
    backups = 1 + int(filesystem.desc_blocks) + int(superblock.s_reserved_gdt_blocks)
    if rest and rest < tables + backups + _SMALLEST_GROUP_ROOM:
        return blocks - rest
    return blocks


def _reserve_descriptors(filesystem: Any, groups: int) -> None:
    """Make room for descriptors: on the disk from what is reserved there, and in memory."""
    superblock = filesystem.super
    a_block = BLOCK_SIZE // int(superblock.s_desc_size)
    old, new = int(filesystem.desc_blocks), -(-groups // a_block)
    reserved = int(superblock.s_reserved_gdt_blocks)
    if new - old > reserved:
        raise CannotGrow((old + reserved) * a_block * superblock.s_blocks_per_group * BLOCK_SIZE)
    check(
        lib.ext2fs_resize_mem(
            old * BLOCK_SIZE, new * BLOCK_SIZE, ffi.addressof(filesystem, "group_desc")
        )
    )
    descriptors = ffi.cast("char *", filesystem.group_desc)
    ffi.buffer(descriptors + old * BLOCK_SIZE, (new - old) * BLOCK_SIZE)[:] = bytes(
        (new - old) * BLOCK_SIZE
    )
    filesystem.desc_blocks = new
    superblock.s_reserved_gdt_blocks = reserved - (new - old)


def _set_size(filesystem: Any, blocks: int, groups: int) -> None:
    superblock = filesystem.super
    added = (groups - filesystem.group_desc_count) * superblock.s_inodes_per_group
    old_blocks = int(lib.ext2fs_blocks_count(superblock))
    superblock.s_inodes_count += added
    superblock.s_free_inodes_count += added
    lib.ext2fs_blocks_count_set(superblock, blocks)
    lib.ext2fs_r_blocks_count_set(superblock, blocks * RESERVED_PERCENT // 100)
    filesystem.group_desc_count = groups
    inodes = superblock.s_inodes_count
    check(lib.ext2fs_resize_inode_bitmap2(inodes, inodes, filesystem.inode_map))
    real_end = groups * superblock.s_blocks_per_group - 1
    check(lib.ext2fs_resize_block_bitmap2(blocks - 1, real_end, filesystem.block_map))
    # On the disk, what a bitmap has beyond the end counts as used.
    lib.ext2fs_unmark_block_bitmap_range2(filesystem.block_map, old_blocks, blocks - old_blocks)


def _extend_last_group(filesystem: Any, group: int, old_blocks: int) -> None:
    """The group that was the last one may have been shorter than the others."""
    superblock = filesystem.super
    blocks = int(lib.ext2fs_blocks_count(superblock))
    end = min((group + 1) * superblock.s_blocks_per_group, blocks)
    added = end - old_blocks
    free = lib.ext2fs_bg_free_blocks_count(filesystem, group)
    lib.ext2fs_bg_free_blocks_count_set(filesystem, group, free + added)
    lib.ext2fs_group_desc_csum_set(filesystem, group)
    _count_free(filesystem, added)


def _describe_group(filesystem: Any, group: int) -> None:
    """A group without tables: everything in it is free but the backups that it may have."""
    superblock = filesystem.super
    free = lib.ext2fs_reserve_super_and_bgd(filesystem, group, filesystem.block_map)
    # It takes off what the tables would need; in a flex_bg they may be anywhere, and are counted
    # where they are made.
    free += 2 + filesystem.inode_blocks_per_group
    inodes = superblock.s_inodes_per_group
    lib.ext2fs_bg_free_blocks_count_set(filesystem, group, free)
    lib.ext2fs_bg_free_inodes_count_set(filesystem, group, inodes)
    lib.ext2fs_bg_itable_unused_set(filesystem, group, inodes)
    flags = lib.EXT2_BG_INODE_UNINIT
    if group != filesystem.group_desc_count - 1:
        flags |= lib.EXT2_BG_BLOCK_UNINIT  # the last one may have bits beyond the end
    lib.ext2fs_bg_flags_set(filesystem, group, flags)
    lib.ext2fs_group_desc_csum_set(filesystem, group)
    _count_free(filesystem, free)


def _add_tables(filesystem: Any, group: int, old_blocks: int) -> None:
    check(lib.ext2fs_allocate_group_table(filesystem, group, filesystem.block_map))
    table = int(lib.ext2fs_inode_table_loc(filesystem, group))
    if table < old_blocks:
        # Files that are deleted by now may have left something there; the new part is all zeroes.
        length = filesystem.inode_blocks_per_group * BLOCK_SIZE
        check(lib.vl_nbd_write_zeroes(filesystem.io, table * BLOCK_SIZE, length))
    lib.ext2fs_bg_flags_set(filesystem, group, lib.EXT2_BG_INODE_ZEROED)
    lib.ext2fs_group_desc_csum_set(filesystem, group)


def _count_free(filesystem: Any, blocks: int) -> None:
    superblock = filesystem.super
    lib.ext2fs_free_blocks_count_set(superblock, lib.ext2fs_free_blocks_count(superblock) + blocks)


def _rewrite_resize_inode(filesystem: Any) -> None:
    """List the blocks that are still reserved, in all groups with backups."""
    raw = bytearray(INODE_SIZE)
    pointer = ffi.from_buffer("struct ext2_inode *", raw)
    check(lib.ext2fs_read_inode_full(filesystem, _RESIZE_INODE, pointer, INODE_SIZE))
    inode = InodeFields(raw)
    (place,) = struct.unpack_from("=I", inode.block, _DOUBLY_INDIRECT * 4)
    if not place:
        raise Ext4Error(lib.EXT2_ET_RESIZE_INODE_CORRUPT)
    inode.sectors = SECTORS_PER_BLOCK
    check(lib.ext2fs_write_inode_full(filesystem, _RESIZE_INODE, pointer, INODE_SIZE))
    check(lib.io_channel_write_blk64(filesystem.io, place, 1, bytes(BLOCK_SIZE)))
    check(lib.ext2fs_create_resize_inode(filesystem))
