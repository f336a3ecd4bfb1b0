# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes errors of applying a layer to an ext4, as a sentence about the layer."""

from __future__ import annotations

import errno

from virtlayer.sizes import human_size
from virtlayer.worker import refusal as common
from virtlayer.worker.ext4.filesystem import LINK_LIMIT, Ext4Filesystem
from virtlayer.worker.ext4.library import (
    AttributesTooLarge,
    DeviceFull,
    DirectoryTooLarge,
    Ext4Error,
    FilesystemFull,
    ForeignFilesystem,
    ServerHangs,
    TooManyLinks,
)
from virtlayer.worker.problems import quoted
from virtlayer.worker.refusal import INTERNAL, NO_SPACE, TOO_LARGE, Refused, about

STOPS = (*common.STOPS, Ext4Error)
"""The errors that ``refusal`` describes."""

_DISCONNECTED = (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET)
"""Codes of a connection whose server has ended."""


def refusal(error: BaseException, name: bytes, filesystem: Ext4Filesystem | None) -> Refused:
    """Return the refusal of a layer for one of ``STOPS``.

    Args:
        error: What was raised.
        name: The entry that was being applied.
        filesystem: The file system that it was applied to, if there is one.
    """
    match error:
        case TooManyLinks():
            problem = f"a file with more than {LINK_LIMIT} hard links, the limit of ext4"
            return Refused(TOO_LARGE, about(name, problem))
        case DirectoryTooLarge():
            return Refused(TOO_LARGE, "has a directory with more entries than ext4 can index")
        case AttributesTooLarge():
            problem = "its extended attributes do not fit into an ext4 inode and one block"
            return Refused(TOO_LARGE, about(name, problem))
        case DeviceFull():
            return Refused(NO_SPACE, "cannot be written: the storage pool is full")
        case ServerHangs():
            problem = (
                "cannot be written: the server of the volume makes no progress. Check that the"
            )
            return Refused(INTERNAL, f"{problem} storage of the pool responds")
        case Ext4Error() if error.code in _DISCONNECTED:
            return Refused(INTERNAL, "cannot be written: qemu-storage-daemon has stopped")
        case ForeignFilesystem():
            problem = (
                "cannot be written: the volume has a file system that virtlayer did not create"
            )
            return Refused(INTERNAL, f"{problem}: {error}")
        case FilesystemFull() if filesystem is not None:
            return Refused(
                NO_SPACE,
                "does not fit into the file system of the image: "
                f"{human_size(filesystem.free_bytes)} of {human_size(filesystem.size)} and "
                f"{filesystem.free_inodes} inodes are free, and the entry {quoted(name)} needs "
                "more",
            )
        case Ext4Error() if filesystem is None:
            return Refused(
                INTERNAL, f"cannot be applied, because its file system cannot be opened: {error}"
            )
        case Ext4Error():
            return Refused(INTERNAL, about(name, f"ext4 cannot store it: {error}"))
        case _:
            return common.refusal(error)
