# SPDX-License-Identifier: LGPL-2.1-or-later
"""libext2fs, and its error codes as exceptions."""

import errno

from virtlayer.worker.ext4._ext2fs import ffi, lib

__all__ = [
    "AttributesTooLarge",
    "DeviceFull",
    "DirectoryTooLarge",
    "Ext4Error",
    "FilesystemFull",
    "ServerHangs",
    "check",
    "ffi",
    "lib",
]

lib.initialize_ext2_error_table()


class Ext4Error(Exception):
    """A function of libext2fs failed.

    Args:
        code: Its errcode_t: a number of libext2fs's table (ext2_err.et), or an errno.
    """

    def __init__(self, code: int) -> None:
        super().__init__(ffi.string(lib.error_message(code)).decode(errors="replace"))
        self.code = code


class FilesystemFull(Ext4Error):
    """The file system has no free block or inode left."""


class DeviceFull(Ext4Error):
    """The server could not store a write: what holds the volume is full."""


class ServerHangs(Ext4Error):
    """The server of the volume made no progress until the deadline."""


class AttributesTooLarge(Ext4Error):
    """The extended attributes do not fit beside the inode and into one block."""


class DirectoryTooLarge(Ext4Error):
    """More names than a hash tree of two levels can find."""


_OUT_OF_MEMORY = (errno.ENOMEM, lib.EXT2_ET_NO_MEMORY)
_MEANINGS: dict[int, type[Ext4Error]] = {
    lib.EXT2_ET_BLOCK_ALLOC_FAIL: FilesystemFull,
    lib.EXT2_ET_INODE_ALLOC_FAIL: FilesystemFull,
    lib.EXT2_ET_EA_NO_SPACE: AttributesTooLarge,
    errno.EFBIG: DirectoryTooLarge,
    errno.ENOSPC: DeviceFull,
    errno.EDQUOT: DeviceFull,
    errno.ETIMEDOUT: ServerHangs,
}


def check(code: int) -> None:
    """Turn an errcode_t into an exception.

    Raises:
        Ext4Error: The code is not 0; one of the subclasses where it has a meaning of its own.
        MemoryError: There was no memory for what libext2fs or the io_manager had to do.
    """
    if not code:
        return
    if code in _OUT_OF_MEMORY:
        raise MemoryError
    raise _MEANINGS.get(code, Ext4Error)(code)
