# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes errors of applying a layer to a directory, as a sentence about the layer."""

from __future__ import annotations

import errno

from virtlayer.worker import refusal as common
from virtlayer.worker.directory.attributes import AttributesDoNotFit
from virtlayer.worker.problems import quoted
from virtlayer.worker.refusal import INTERNAL, NO_SPACE, TOO_LARGE, Refused, about

STOPS = (*common.STOPS, OSError, AttributesDoNotFit)
"""The errors that ``refusal`` describes."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BEYOND_THE_FILE_SYSTEM = {
    errno.EFBIG: "it is larger than the maximum file size of the pool's file system",
    errno.EMLINK: "it has more hard links than the pool's file system supports",
    errno.ENAMETOOLONG: "its name is too long for the pool's file system",
    errno.EINVAL: "the pool's file system does not support its name",
    errno.EILSEQ: "the pool's file system does not support its name",
    errno.EOPNOTSUPP: "the pool's file system does not support its type",
}


def refusal(error: BaseException, name: bytes) -> Refused:
    """Return the refusal of a layer for one of ``STOPS``.

    Args:
        error: What was raised.
        name: The entry that was being applied.
    """
    match error:
        case AttributesDoNotFit():
            problem = "the pool's file system has no space for its extended attributes"
        case OSError() if error.errno in _FULL:
            return Refused(NO_SPACE, "cannot be written: the storage pool is full")
        case OSError() if error.errno in _BEYOND_THE_FILE_SYSTEM:
            problem = _BEYOND_THE_FILE_SYSTEM[error.errno]
        case OSError():
            return Refused(INTERNAL, f"cannot be written at {quoted(name)}: {error.strerror}")
        case _:
            return common.refusal(error)
    return Refused(TOO_LARGE, about(name, problem))
