# SPDX-License-Identifier: LGPL-2.1-or-later
"""The writer in C, and its error codes as exceptions."""

from virtlayer.worker.ext4._ext4 import ffi, lib

__all__ = [
    "AttributesTooLarge",
    "DeviceFull",
    "DirectoryTooLarge",
    "Ext4Error",
    "FilesystemFull",
    "ForeignFilesystem",
    "ServerHangs",
    "TooManyLinks",
    "check",
    "ffi",
    "lib",
]


class Ext4Error(Exception):
    """The writer failed.

    Args:
        code: What it returned; see ``errors.h``.
    """

    def __init__(self, code: int) -> None:
        super().__init__(ffi.string(lib.vl_message_of(code)).decode(errors="replace"))
        self.code = code


class FilesystemFull(Ext4Error):
    """The file system has no free block or inode left."""


class DeviceFull(Ext4Error):
    """The server could not store a write: what holds the volume is full."""


class ServerHangs(Ext4Error):
    """The server of the volume made no progress until the deadline."""


class ForeignFilesystem(Ext4Error):
    """The file system is not one that was made here."""


class AttributesTooLarge(Ext4Error):
    """The extended attributes do not fit beside the inode and into one block."""


class DirectoryTooLarge(Ext4Error):
    """More names than a hash tree of two levels can find."""


class TooManyLinks(Ext4Error):
    """A file has as many names as ext4 can count."""


_MEANINGS: dict[int, type[Ext4Error]] = {
    lib.VL_FILESYSTEM_FULL: FilesystemFull,
    lib.VL_DEVICE_FULL: DeviceFull,
    lib.VL_SERVER_HANGS: ServerHangs,
    lib.VL_FOREIGN_FILESYSTEM: ForeignFilesystem,
    lib.VL_ATTRIBUTES_TOO_LARGE: AttributesTooLarge,
    lib.VL_DIRECTORY_TOO_LARGE: DirectoryTooLarge,
    lib.VL_TOO_MANY_LINKS: TooManyLinks,
}


def check(code: int) -> None:
    """Turn what the writer returned into an exception.

    Raises:
        Ext4Error: The code is not 0; one of the subclasses where it has a meaning of its own.
        MemoryError: There was not enough memory.
    """
    if not code:
        return
    meaning = lib.vl_meaning_of(code)
    if meaning == lib.VL_NO_MEMORY:
        raise MemoryError
    raise _MEANINGS.get(meaning, Ext4Error)(code)
