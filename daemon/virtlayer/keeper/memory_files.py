# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contents that cross the border between two processes as sealed memory files (memfd_create(2)).

A sealed one is not changed by anybody, and reading it never waits: neither is so with any other
file that a compromised service could pass.
"""

import fcntl
import os

from virtlayer.errors import Internal
from virtlayer.keeper.beneath import OwnedDescriptor

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def new_memory_file() -> OwnedDescriptor:
    """A memory file that can be written until it is sealed."""
    return OwnedDescriptor(os.memfd_create("virtlayer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))


def seal(descriptor: int) -> None:
    """Let nobody change a memory file from now on."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)


def sealed_size(descriptor: int, limit: int) -> int:
    """See that a received descriptor is one of a sealed memory file.

    Args:
        descriptor: What the service has sent.
        limit: The most bytes that it may have.

    Returns:
        How many it has.

    Raises:
        Internal: It is something else, or too large.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & _SEALS != _SEALS:
        raise Internal("The service sent something else than a sealed memory file.")
    size = os.fstat(descriptor).st_size
    if size > limit:
        raise Internal(f"The service sent {size} bytes; at most {limit} are allowed.")
    return size
