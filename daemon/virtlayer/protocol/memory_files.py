# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contents that are passed between two processes as sealed memory files (memfd_create(2)).

No process can change a sealed one, and reading it never blocks. Neither holds for other files that
a compromised service could pass.
"""

import fcntl
import os
from collections.abc import Sequence

from virtlayer.errors import Internal
from virtlayer.protocol.descriptors import OwnedDescriptor

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def new_memory_file() -> OwnedDescriptor:
    """A memory file that can be written until it is sealed."""
    return OwnedDescriptor(os.memfd_create("virtlayer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))


def seal(descriptor: int) -> None:
    """Prevent further changes of a memory file."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)


def received_content(descriptors: Sequence[int], limit: int) -> int | None:
    """The content that came with a request; None if none did.

    Args:
        descriptors: What came with it.
        limit: The most bytes that it may have.

    Raises:
        Internal: There are several, or it is not a sealed memory file, or too large.
    """
    if not descriptors:
        return None
    [content] = received_contents(descriptors, 1, limit)
    return content


def received_contents(descriptors: Sequence[int], number: int, limit: int) -> Sequence[int]:
    """The contents that came with a request.

    Args:
        descriptors: What came with it.
        number: How many contents there must be.
        limit: The most bytes that each may have.

    Raises:
        Internal: There are more or less, or one is not a sealed memory file, or too large.
    """
    if len(descriptors) != number:
        raise Internal(f"{len(descriptors)} contents came instead of {number}.")
    for descriptor in descriptors:
        _check_sealed(descriptor, limit)
    return descriptors


def _check_sealed(descriptor: int, limit: int) -> None:
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & _SEALS != _SEALS:
        raise Internal("Something else than a sealed memory file came.")
    size = os.fstat(descriptor).st_size
    if size > limit:
        raise Internal(f"{size} bytes came; at most {limit} are allowed.")
