# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of an open file system: read when they are needed, written when all is said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from virtlayer.layer.ext4.blocks import (
    BLOCK_SIZE,
    EMPTY_TREE,
    SECTORS_PER_BLOCK,
    BlockAllocator,
    inline_extents,
    insert_extents,
    runs_for,
)
from virtlayer.layer.ext4.directory import Directory, build_blocks, parse_blocks
from virtlayer.layer.ext4.inode import InodeFields
from virtlayer.layer.ext4.inodes import Inodes
from virtlayer.layer.ext4.library import check, ffi, lib

_KEPT = 16384
"""Directories in memory. A layer with a million directories does not need them all at a time."""

_FIRST_UNSIGNED_HASH = 3


class Directories:
    """The directories of a file system.

    Args:
        filesystem: An open ext2_filsys with its bitmaps.
        inodes: Its inodes.
        blocks: Where blocks come from.
    """

    def __init__(self, filesystem: Any, inodes: Inodes, blocks: BlockAllocator) -> None:
        self._fs = filesystem
        self._inodes = inodes
        self._blocks = blocks
        self._kept: dict[int, Directory] = {}
        self._hash = ffi.new("ext2_dirhash_t *")

    def get(self, number: int) -> Directory:
        """A directory; valid until the next one is asked for.

        Raises:
            Ext4Error: It cannot be read, or another one cannot be written to make room.
            DirectoryTooLarge: Likewise.
        """
        directory = self._kept.get(number)
        if directory is None:
            inode = self._inodes.read(number)
            directory = parse_blocks(number, self._read_blocks(number, inode))
            self._keep(directory)
        return directory

    def create(self, number: int, parent: int) -> None:
        """Begin an empty directory, whose inode is there."""
        directory = Directory(number, parent, {})
        directory.changed = True
        self._keep(directory)

    def forget(self, number: int) -> None:
        """A directory is gone."""
        self._kept.pop(number, None)

    def write_all(self) -> None:
        """Write every directory that has changed.

        Raises:
            Ext4Error: One cannot be written.
            DirectoryTooLarge: One has too many names.
        """
        for directory in self._kept.values():
            if directory.changed:
                self._write(directory)

    def _keep(self, directory: Directory) -> None:
        """Archives go through a tree branch by branch: who came first is needed least."""
        if len(self._kept) >= _KEPT:
            for number in list(itertools.islice(self._kept, _KEPT // 2)):
                if self._kept[number].changed:
                    self._write(self._kept[number])
                del self._kept[number]
        self._kept[directory.number] = directory

    def _read_blocks(self, number: int, inode: InodeFields) -> Iterator[bytes]:
        block = ffi.new("char[]", BLOCK_SIZE)
        for logical in range(inode.size // BLOCK_SIZE):
            place = self._inodes.block_of(number, inode, logical)
            check(lib.ext2fs_read_dir_block4(self._fs, place, block, 0, number))
            yield bytes(ffi.buffer(block, BLOCK_SIZE))

    def _write(self, directory: Directory) -> None:
        number = directory.number
        blocks, indexed = build_blocks(directory, self._hash_name)
        inode = self._inodes.read(number)
        if inode.size != len(blocks) * BLOCK_SIZE:
            self._resize(number, inode, len(blocks))
        inode.set_indexed(indexed=indexed)
        inode.links = directory.links
        self._inodes.store(number, inode)
        for logical, block in enumerate(blocks):
            place = self._inodes.block_of(number, inode, logical)
            pointer = ffi.from_buffer(bytearray(block))
            check(lib.ext2fs_write_dir_block4(self._fs, place, pointer, 0, number))
        directory.changed = False

    def _resize(self, number: int, inode: InodeFields, count: int) -> None:
        """Give a directory other blocks, and that many."""
        self._inodes.free_blocks(number, inode)
        runs = runs_for([(0, count * BLOCK_SIZE)], self._blocks)
        tree = inline_extents(runs)
        inode.set_directory_content(
            blocks=EMPTY_TREE if tree is None else tree,
            size=count * BLOCK_SIZE,
            sectors=count * SECTORS_PER_BLOCK + inode.attribute_sectors,
        )
        if tree is None:
            pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
            insert_extents(self._fs, number, pointer, runs)

    def _hash_name(self, name: bytes) -> int:
        superblock = self._fs.super
        version = superblock.s_def_hash_version + _FIRST_UNSIGNED_HASH  # as format.py says
        check(
            lib.ext2fs_dirhash2(
                version, name, len(name), ffi.NULL, 0, superblock.s_hash_seed, self._hash, ffi.NULL
            )
        )
        return int(self._hash[0])
