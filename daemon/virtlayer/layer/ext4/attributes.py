# SPDX-License-Identifier: LGPL-2.1-or-later
"""Extended attributes, beside the inode or in one block (ext4(5), "Extended Attributes")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virtlayer.layer.ext4.library import check, ffi, lib

NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")
"""The names that Linux can set; another name has no meaning there."""


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
