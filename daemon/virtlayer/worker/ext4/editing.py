# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ext4 that is finished, opened again for changes to what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtlayer.worker.ext4.attributes import read_attributes, write_attributes
from virtlayer.worker.ext4.blocks import BLOCK_SIZE
from virtlayer.worker.ext4.filesystem import ROOT, Ext4Filesystem
from virtlayer.worker.ext4.grow import grow_filesystem
from virtlayer.worker.ext4.inode import INODE_SIZE, InodeFields
from virtlayer.worker.ext4.library import check, ffi, lib
from virtlayer.worker.tree import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from virtlayer.protocol.id_ranges import Owners

_SCANNED_BLOCKS = 64
"""Of an inode table that are read at a time: 256 KiB, 1024 inodes."""
_PERMISSIONS = 0o7777


class EditableExt4(Ext4Filesystem):
    """The file system of a volume; see ``customize.files.EditableTree``."""

    def grow(self, size: int) -> None:
        """Make it as large as its device has become, before anything else is done.

        Raises:
            CannotGrow: It has no room for so many group descriptors.
            Ext4Error: It is damaged, or cannot be read.
        """
        grow_filesystem(self._fs, size)
        # What resize2fs does: the backups would be those of another file system otherwise.
        self._fs.flags &= ~lib.EXT2_FLAG_MASTER_SB_ONLY

    def metadata(self, node: int) -> Metadata:
        """See ``EditableTree``."""
        inode = self._inodes.read(node)
        attributes = read_attributes(self._fs, node) if inode.has_attributes else {}
        return Metadata(inode.mode & _PERMISSIONS, inode.uid, inode.gid, inode.mtime, attributes)

    def content(self, file: int, limit: int) -> bytes | None:
        """See ``EditableTree``."""
        inode = self._inodes.read(file)
        if inode.size > limit:
            return None
        content = bytearray()
        block = ffi.new("char[]", BLOCK_SIZE)
        for logical in range(-(-inode.size // BLOCK_SIZE)):
            place = self._inodes.block_of(file, inode, logical)
            if place:
                check(lib.io_channel_read_blk64(self._io, place, 1, block))
                content += ffi.buffer(block, BLOCK_SIZE)
            else:
                content += bytes(BLOCK_SIZE)
        return bytes(content[: inode.size])

    def map_owners(self, owners: Owners) -> None:
        """See ``EditableTree``. What only libext2fs knows of has no owner that could be mapped."""
        for number, inode in self._used_inodes():
            uid, gid = owners.uids(inode.uid), owners.gids(inode.gid)
            if (uid, gid) != (inode.uid, inode.gid):
                inode.set_owner(uid, gid)
                self._inodes.store(number, inode)
            if inode.has_attributes:
                self._map_attributes(number, owners)

    def _map_attributes(self, number: int, owners: Owners) -> None:
        attributes = read_attributes(self._fs, number)
        mapped = {name: owners.attribute(name, value) for name, value in attributes.items()}
        if mapped != attributes:
            write_attributes(self._fs, number, mapped)

    def _used_inodes(self) -> Iterator[tuple[int, InodeFields]]:
        """Every inode that is in the tree, once: those of the inode tables, not those of names."""
        scan = ffi.new("ext2_inode_scan *")
        number = ffi.new("ext2_ino_t *")
        check(lib.ext2fs_open_inode_scan(self._fs, _SCANNED_BLOCKS, scan))
        try:
            first = self._fs.super.s_first_ino
            while True:
                raw = bytearray(INODE_SIZE)
                pointer = ffi.from_buffer("struct ext2_inode *", raw)
                check(lib.ext2fs_get_next_inode_full(scan[0], number, pointer, INODE_SIZE))
                if not number[0]:
                    return
                inode = InodeFields(raw)
                if inode.links and (number[0] >= first or number[0] == ROOT):
                    yield int(number[0]), inode
        finally:
            lib.ext2fs_close_inode_scan(scan[0])
