# SPDX-License-Identifier: LGPL-2.1-or-later
"""Extended attributes, beside the inode or in one block (ext4(5), "Extended Attributes")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virtlayer.worker.ext4.blocks import BLOCK_SIZE
from virtlayer.worker.ext4.inode import INODE_SIZE
from virtlayer.worker.ext4.library import AttributesTooLarge, check, ffi, lib

_ROOM = BLOCK_SIZE + INODE_SIZE
"""More bytes than an inode and its one block could hold."""


def write_attributes(filesystem: Any, number: int, attributes: Mapping[bytes, bytes]) -> None:
    """Give an inode these attributes and no others.

    Args:
        filesystem: The ext2_filsys.
        number: The inode, which has been written.
        attributes: Values by their full names, as setxattr(2) takes them.

    Raises:
        AttributesTooLarge: They do not fit.
        Ext4Error: libext2fs refuses a name or value.
    """
    # libext2fs looks at all of them for each of them: nothing that a stranger may ask of it.
    if sum(len(name) + len(value) for name, value in attributes.items()) > _ROOM:
        raise AttributesTooLarge(lib.EXT2_ET_EA_NO_SPACE)
    handle = ffi.new("struct ext2_xattr_handle **")
    # Not read first: a handle that knows of nothing replaces everything.
    check(lib.ext2fs_xattrs_open(filesystem, number, handle))
    try:
        # Sorted, so that the order of an archive's headers leaves no trace.
        for name in sorted(attributes):
            value = attributes[name]
            check(lib.ext2fs_xattr_set(handle[0], name, ffi.from_buffer(value), len(value)))
        check(lib.ext2fs_xattrs_write(handle[0]))
    finally:
        lib.ext2fs_xattrs_close(handle)


def read_attributes(filesystem: Any, number: int) -> dict[bytes, bytes]:
    """All extended attributes of an inode: values by full names, as getxattr(2) gives them.

    Args:
        filesystem: The ext2_filsys.
        number: The inode.

    Raises:
        Ext4Error: They cannot be read.
    """
    handle = ffi.new("struct ext2_xattr_handle **")
    check(lib.ext2fs_xattrs_open(filesystem, number, handle))
    try:
        check(lib.ext2fs_xattrs_read(handle[0]))
        names: list[bytes] = []
        visited = ffi.new_handle(names)
        check(lib.ext2fs_xattrs_iterate(handle[0], lib.vl_visit_attribute, visited))
        # Asked for one by one: iterating gives access control lists as the disk has them.
        return {name: _value(handle[0], name) for name in names}
    finally:
        lib.ext2fs_xattrs_close(handle)


@ffi.def_extern(error=lib.XATTR_ABORT)  # type: ignore[untyped-decorator] # of cffi
def vl_visit_attribute(name: Any, _value: Any, _length: int, visited: Any) -> int:
    """What libext2fs calls for each attribute; 0 asks for the next one."""
    names: list[bytes] = ffi.from_handle(visited)
    names.append(bytes(ffi.string(name)))
    return 0


def _value(handle: Any, name: bytes) -> bytes:
    value = ffi.new("void **")
    length = ffi.new("size_t *")
    check(lib.ext2fs_xattr_get(handle, name, value, length))
    try:
        return bytes(ffi.buffer(value[0], length[0]))
    finally:
        lib.ext2fs_free_mem(value)
