# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stops a layer, as an error of ``virtlayer.errors`` and a sentence about the layer.

Everything that a layer can provoke has its line here; what has none is a defect of virtlayer.
"""

from __future__ import annotations

from virtlayer.layer.ext4.directory import DirectoryTooLarge
from virtlayer.layer.ext4.filesystem import LINK_LIMIT, Ext4Filesystem, TooManyLinks
from virtlayer.layer.ext4.library import (
    AttributesTooLarge,
    DeviceFull,
    Ext4Error,
    FilesystemFull,
)
from virtlayer.layer.problems import BadArchive, LayerProblem, TooLarge, quoted
from virtlayer.layer.stream import BrokenStream, StreamTooLong

MALFORMED = "MalformedLayer"
TOO_LARGE = "LayerTooLarge"
NO_SPACE = "NoSpace"
WRONG_DIGEST = "DigestMismatch"
INTERNAL = "Internal"


class Refused(Exception):
    """The layer cannot be applied.

    Args:
        error: The name of the error in ``virtlayer.errors``.
        problem: What is wrong, as the second half of a sentence about the layer.
    """

    def __init__(self, error: str, problem: str) -> None:
        super().__init__(problem)
        self.error = error
        self.problem = problem


class CpuLimitReached(Exception):
    """The processor time of the worker is used up."""


STOPS = (
    LayerProblem,
    BrokenStream,
    StreamTooLong,
    TooManyLinks,
    DirectoryTooLarge,
    Ext4Error,
    MemoryError,
    CpuLimitReached,
)
"""What ``refusal`` knows."""


def refusal(error: BaseException, name: bytes, filesystem: Ext4Filesystem | None) -> Refused:
    """What to say about a layer that one of ``STOPS`` has stopped.

    Args:
        error: What was raised.
        name: The entry that was being applied.
        filesystem: What it was applied to, as far as there is one.
    """
    match error:
        case LayerProblem(name=None):
            kind = TOO_LARGE if isinstance(error, TooLarge) else MALFORMED
            what = "is too large" if kind is TOO_LARGE else "is no archive that can be applied"
            return Refused(kind, f"{what}: {error.problem}")
        case BadArchive():
            return Refused(MALFORMED, _about(error.name, error.problem))
        case TooLarge():
            return Refused(TOO_LARGE, _about(error.name, error.problem))
        case BrokenStream():
            return Refused(MALFORMED, f"is damaged: {error}")
        case StreamTooLong():
            return Refused(
                TOO_LARGE, "unpacks to more bytes than the settings allow (layer.bytes-limit)"
            )
        case TooManyLinks():
            problem = f"a file with more than {LINK_LIMIT} names is more than ext4 can count"
            return Refused(TOO_LARGE, _about(name, problem))
        case DirectoryTooLarge():
            return Refused(TOO_LARGE, "has a directory with more names than ext4 can index")
        case AttributesTooLarge():
            problem = "its extended attributes do not fit into an ext4 inode and one block"
            return Refused(TOO_LARGE, _about(name, problem))
        case MemoryError():
            return Refused(
                TOO_LARGE, "needs more memory than the settings allow (layer.memory-limit)"
            )
        case CpuLimitReached():
            return Refused(
                TOO_LARGE, "needs more processor time than the settings allow (layer.cpu-limit)"
            )
        case DeviceFull():
            return Refused(NO_SPACE, "cannot be written: the storage pool is full")
        case FilesystemFull() if filesystem is not None:
            return Refused(
                NO_SPACE,
                f"does not fit: of the {filesystem.size} bytes of the image's file system "
                f"{filesystem.free_bytes} bytes and {filesystem.free_inodes} inodes are free, "
                f"and the entry {quoted(name)} needs more",
            )
        case Ext4Error() if filesystem is None:
            return Refused(INTERNAL, f"has no file system to go to: {error}")
        case _:
            return Refused(INTERNAL, _about(name, f"libext2fs says “{error}”"))


def _about(name: bytes | None, problem: str) -> str:
    return f"has an entry {quoted(name or b'')} that cannot be applied: {problem}"
