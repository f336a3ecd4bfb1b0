# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blocks: finding free ones, and saying in an inode which ones a file has."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from virtlayer.worker.ext4.library import Ext4Error, FilesystemFull, check, ffi, lib

BLOCK_SIZE = 4096
SECTORS_PER_BLOCK = BLOCK_SIZE // 512

_WINDOW = 2048
"""Blocks that are looked for at a time: 8 MiB, so that small files lie side by side."""
_HOLES_PASSED = 10_000
_LONGEST_EXTENT = 32768
_EXTENTS_IN_INODE = 4
_EXTENT_MAGIC = 0xF30A


class Run(NamedTuple):
    """Blocks of a file that are neighbours in the file and on the disk."""

    logical: int
    physical: int
    length: int


class BlockAllocator:
    """Hands out free blocks in ascending order, starting where there is room.

    libext2fs allocates from it as well, for the blocks of extent trees and extended attributes.

    Args:
        filesystem: An open ext2_filsys with its bitmaps.
        room: Its struct vl_room; which blocks are set aside is for this class.
    """

    def __init__(self, filesystem: Any, room: Any) -> None:
        self._filesystem = filesystem
        self._room = room
        self._found = ffi.new("blk64_t *")
        room.block, room.blocks = self._first_roomy_place(), 0
        self._handle = ffi.new_handle(self)
        filesystem.priv_data = self._handle
        lib.ext2fs_set_alloc_block_callback(filesystem, lib.vl_allocate_block, ffi.NULL)

    def take(self, count: int) -> list[tuple[int, int]]:
        """Take blocks out of the free ones.

        Returns:
            Start and length of each run, in the order in which a file should use them.

        Raises:
            FilesystemFull: Fewer than that are free; none is taken.
        """
        filesystem = self._filesystem
        if count > lib.ext2fs_free_blocks_count(filesystem.super):
            raise FilesystemFull(lib.EXT2_ET_BLOCK_ALLOC_FAIL)
        runs = []
        while count:
            start, length = self.reserve(min(count, _LONGEST_EXTENT))
            lib.ext2fs_block_alloc_stats_range(filesystem, start, length, 1)
            runs.append((start, length))
            count -= length
        return runs

    def reserve(self, count: int) -> tuple[int, int]:
        """Set aside a run of at most that many blocks, which the caller marks as used.

        Raises:
            FilesystemFull: No block is free.
        """
        room = self._room
        if not room.blocks:
            self._open_window(max(count, _WINDOW))
        start, length = room.block, min(count, room.blocks)
        room.block += length
        room.blocks -= length
        return start, length

    def are_set_aside(self, size: int) -> bool:
        """Whether the blocks for that many bytes are set aside already, side by side."""
        return size <= int(self._room.blocks) * BLOCK_SIZE

    def _open_window(self, count: int) -> None:
        start, length = self._free_run(self._room.block)
        if not length:
            start, length = self._free_run(0)
        if not length:
            raise FilesystemFull(lib.EXT2_ET_BLOCK_ALLOC_FAIL)
        self._room.block, self._room.blocks = start, min(length, count)

    def _first_roomy_place(self) -> int:
        """Holes that deletions left are for later: what comes together should lie together."""
        start, length = self._free_run(0)
        for _ in range(_HOLES_PASSED):
            if length >= _WINDOW or not length:
                return start
            start, length = self._free_run(start + length)
        return start

    def _free_run(self, start: int) -> tuple[int, int]:
        """The first run of free blocks from there on; of no length where there is none.

        Not by ext2fs_new_range: where no run is long enough for it, it goes round for ever. And
        the last block of all stays free: ext2fs_punch refuses to free a run that ends there.
        """
        bitmap = self._filesystem.block_map
        start = max(start, int(self._filesystem.super.s_first_data_block))
        end = int(lib.ext2fs_blocks_count(self._filesystem.super)) - 1
        if start >= end or lib.ext2fs_find_first_zero_block_bitmap2(
            bitmap, start, end - 1, self._found
        ):
            return 0, 0
        start = int(self._found[0])
        if lib.ext2fs_find_first_set_block_bitmap2(bitmap, start, end - 1, self._found):
            return start, end - start
        return start, int(self._found[0]) - start


@ffi.def_extern(error=lib.EXT2_ET_BLOCK_ALLOC_FAIL)  # type: ignore[untyped-decorator] # of cffi
def vl_allocate_block(filesystem: Any, goal: int, block: Any) -> int:  # noqa: ARG001 -- its type
    """What libext2fs calls when it needs a block itself; it marks the block as used."""
    allocator: BlockAllocator = ffi.from_handle(filesystem.priv_data)
    try:
        block[0], _ = allocator.reserve(1)
    except Ext4Error as error:
        return error.code
    return 0


def inline_extents(runs: list[Run]) -> bytes | None:
    """The extent tree of a file as i_block holds it (ext4(5), "Extent Tree").

    Returns:
        None where it needs blocks of its own: see ``insert_extents``.
    """
    if len(runs) > _EXTENTS_IN_INODE:
        return None
    # The extent tree is little-endian on disk and libext2fs does not swap it.
    tree = struct.pack("<HHHHI", _EXTENT_MAGIC, len(runs), _EXTENTS_IN_INODE, 0, 0)
    for logical, physical, length in runs:
        tree += struct.pack("<IHHI", logical, length, physical >> 32, physical & 0xFFFFFFFF)
    return tree


EMPTY_TREE = inline_extents([]) or b""
"""What an inode without blocks has in i_block."""


def insert_extents(filesystem: Any, inode_number: int, inode: Any, runs: list[Run]) -> None:
    """Build an extent tree of any depth below an inode that has an empty one.

    Args:
        filesystem: The ext2_filsys.
        inode_number: Of the file.
        inode: A struct ext2_inode pointer; changed, with the blocks of the tree counted.
        runs: All of the file's, ascending.
    """
    handle = ffi.new("ext2_extent_handle_t *")
    extent = ffi.new("struct ext2fs_extent *")
    check(lib.ext2fs_extent_open2(filesystem, inode_number, inode, handle))
    try:
        for logical, physical, length in runs:
            extent.e_lblk, extent.e_pblk, extent.e_len = logical, physical, length
            check(lib.ext2fs_extent_insert(handle[0], lib.EXT2_EXTENT_INSERT_AFTER, extent))
            check(lib.ext2fs_extent_fix_parents(handle[0]))
    finally:
        lib.ext2fs_extent_free(handle[0])


def runs_for(segments: list[tuple[int, int]], allocator: BlockAllocator) -> list[Run]:
    """Allocate the blocks that stretches of data touch.

    Args:
        segments: Offset and length in bytes, ascending.
        allocator: Where the blocks come from.

    Returns:
        The runs, ascending; none where there is no data.
    """
    stretches: list[list[int]] = []
    for offset, length in segments:
        if not length:
            continue
        first, end = offset // BLOCK_SIZE, -(-(offset + length) // BLOCK_SIZE)
        if stretches and first <= stretches[-1][1]:
            stretches[-1][1] = max(end, stretches[-1][1])
        else:
            stretches.append([first, end])
    pieces = iter(allocator.take(sum(end - first for first, end in stretches)))
    runs: list[Run] = []
    physical, available = 0, 0
    for first, end in stretches:
        while first < end:
            if not available:
                physical, available = next(pieces)
            length = min(end - first, available)
            runs.append(Run(first, physical, length))
            first, physical, available = first + length, physical + length, available - length
    return runs
