# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes errors of a layer: an error of ``virtlayer.errors``, and a sentence about it.

Every error that a layer can provoke has its line here, or in ``ext4`` or ``directory``. Any other
error is a defect of virtlayer.
"""

from __future__ import annotations

from virtlayer.worker.problems import (
    BadArchive,
    BrokenStream,
    LayerProblem,
    StreamTooLong,
    TooLarge,
    UnsupportedCompression,
    quoted,
)

MALFORMED = "MalformedLayer"
TOO_LARGE = "LayerTooLarge"
NO_SPACE = "NoSpace"
WRONG_DIGEST = "DigestMismatch"
INVALID = "InvalidArgument"
NO_KERNEL = "NoKernel"
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
    UnsupportedCompression,
    StreamTooLong,
    MemoryError,
    CpuLimitReached,
)
"""The errors that ``refusal`` describes."""


def refusal(error: BaseException) -> Refused:
    """Return the refusal of a layer for one of ``STOPS``."""
    match error:
        case LayerProblem(name=None):
            kind = TOO_LARGE if isinstance(error, TooLarge) else MALFORMED
            what = "is too large" if kind is TOO_LARGE else "is not a valid archive"
            return Refused(kind, f"{what}: {error.problem}")
        case BadArchive():
            return Refused(MALFORMED, about(error.name, error.problem))
        case TooLarge():
            return Refused(TOO_LARGE, about(error.name, error.problem))
        case BrokenStream():
            return Refused(MALFORMED, f"is damaged: {error}")
        case UnsupportedCompression():
            return Refused(
                MALFORMED,
                f"has the unsupported compression {error.name}; gzip, zstd and none are supported",
            )
        case StreamTooLong():
            return Refused(
                TOO_LARGE, "unpacks to more bytes than layer.bytes-limit in virtlayerd.toml allows"
            )
        case MemoryError():
            return Refused(
                TOO_LARGE, "needs more memory than layer.memory-limit in virtlayerd.toml allows"
            )
        case CpuLimitReached():
            return Refused(
                TOO_LARGE,
                "needs more processor time than layer.cpu-limit in virtlayerd.toml allows",
            )
        case _:
            raise AssertionError(f"{error!r} is none of STOPS")


def about(name: bytes | None, problem: str) -> str:
    """What is wrong with an entry of a layer, as the second half of a sentence about that."""
    return f"has an entry {quoted(name or b'')} that cannot be applied: {problem}"
