# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contents for the keeper, in sealed memory files, which it can read without risk."""

import fcntl
import os

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def sealed_content(content: bytes) -> int:
    """Return a descriptor of a sealed memory file with this content; the caller closes it."""
    descriptor = os.memfd_create("virtlayer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
