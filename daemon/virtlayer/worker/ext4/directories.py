# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of an open file system: read when they are needed, written when all is said."""

from __future__ import annotations

import itertools
from array import array
from typing import Any

from virtlayer.worker.ext4.blocks import (
    BLOCK_SIZE,
    EMPTY_TREE,
    SECTORS_PER_BLOCK,
    BlockAllocator,
    inline_extents,
    insert_extents,
    runs_for,
)
from virtlayer.worker.ext4.directory import Directory
from virtlayer.worker.ext4.inodes import Inodes
from virtlayer.worker.ext4.library import check, ffi, lib

_KEPT = 16384
"""Directories in memory. A layer with a million directories does not need them all at a time."""


class Directories:
    """The directories of a file system.

    Args:
        filesystem: An open ext2_filsys with its bitmaps.
        inodes: Its inodes.
        blocks: Where blocks come from.
        room: The struct vl_room of both.
    """

    def __init__(self, filesystem: Any, inodes: Inodes, blocks: BlockAllocator, room: Any) -> None:
        self._fs = filesystem
        self._room = room
        self._inodes = inodes
        self._blocks = blocks
        self._kept: dict[int, Directory] = {}
        self._listing = ffi.new("struct vl_listing *")
        self._needed = ffi.new("blk64_t *")

    def get(self, number: int) -> Directory:
        """A directory; valid until the next one is asked for.

        Raises:
            Ext4Error: It cannot be read, or another one cannot be written to make room.
            DirectoryTooLarge: Likewise.
        """
        directory = self._kept.get(number)
        if directory is None:
            directory = self._read(number)
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

    def _read(self, number: int) -> Directory:
        listing = self._listing
        check(lib.vl_read_directory(self._fs, number, listing))
        try:
            names = ffi.buffer(listing.names, listing.length)[:].split(b"/")
            values = ffi.unpack(listing.values, listing.count)
            parent = int(listing.parent)
        finally:
            lib.vl_forget_listing(listing)
        # What is behind the last "/" is no name.
        return Directory(number, parent, dict(zip(names, values, strict=False)))

    def _write(self, directory: Directory) -> None:
        code = self._write_blocks(directory)
        if code == lib.EXT2_ET_DIR_NO_SPACE:
            self._resize(directory.number, int(self._needed[0]))
            code = self._write_blocks(directory)
        check(code)
        directory.changed = False

    def _write_blocks(self, directory: Directory) -> int:
        entries = directory.entries
        names = b"/".join(entries)
        values = array("Q", entries.values())
        code: int = lib.vl_write_directory(
            self._fs,
            self._room,
            directory.number,
            directory.parent,
            names,
            len(names),
            ffi.from_buffer("uint64_t[]", values),
            len(values),
            self._needed,
        )
        return code

    def _resize(self, number: int, count: int) -> None:
        """Give a directory other blocks, and that many."""
        inode = self._inodes.read(number)
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
        self._inodes.store(number, inode)
