# SPDX-License-Identifier: LGPL-2.1-or-later
"""A finished ext4, opened again for customization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtlayer.worker.ext4.attributes import read_attributes, write_attributes
from virtlayer.worker.ext4.filesystem import Ext4Filesystem
from virtlayer.worker.ext4.library import check, ffi, lib
from virtlayer.worker.times import nanoseconds_of
from virtlayer.worker.tree import NO_ATTRIBUTES, Metadata

if TYPE_CHECKING:
    from virtlayer.protocol.id_ranges import Owners


class CannotGrow(Exception):
    """The file system cannot have that size.

    Args:
        limit: The largest size that it can have, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class EditableExt4(Ext4Filesystem):
    """The file system of a volume; see ``customize.files.EditableTree``."""

    def grow(self, size: int) -> None:
        """Grow it to the size of its device, before anything else is done.

        Args:
            size: In bytes. A smaller one than it has changes nothing.

        Raises:
            CannotGrow: It has no room for so many group descriptors.
            Ext4Error: It is damaged, or cannot be read.
        """
        limit = ffi.new("uint64_t *")
        code = lib.vl_grow(self._writer, size, limit)
        if code and lib.vl_meaning_of(code) == lib.VL_CANNOT_GROW:
            raise CannotGrow(limit[0])
        check(code)

    def metadata(self, node: int) -> Metadata:
        """See ``EditableTree``."""
        found = ffi.new("struct vl_node *")
        check(lib.vl_read_node(self._writer, node, found))
        mtime = nanoseconds_of(found.seconds, found.nanoseconds)
        attributes = read_attributes(self._writer, node) if found.has_attributes else NO_ATTRIBUTES
        return Metadata(found.mode, found.uid, found.gid, mtime, attributes)

    def map_owners(self, owners: Owners) -> None:
        """See ``EditableTree``. Reserved inodes of ext4 have no owner to map."""
        node = ffi.new("struct vl_node *")
        while True:
            # All inodes of the inode tables, once, even with several names.
            check(lib.vl_next_node(self._writer, node))
            if not node.number:
                return
            uid, gid = owners.uids(node.uid), owners.gids(node.gid)
            if (uid, gid) != (node.uid, node.gid):
                node.uid, node.gid = uid, gid
                check(lib.vl_set_owner(self._writer, node))
            if node.has_attributes:
                self._map_attributes(node.number, owners)

    def _map_attributes(self, number: int, owners: Owners) -> None:
        attributes = read_attributes(self._writer, number)
        mapped = {name: owners.attribute(name, value) for name, value in attributes.items()}
        if mapped != attributes:
            write_attributes(self._writer, number, mapped)
