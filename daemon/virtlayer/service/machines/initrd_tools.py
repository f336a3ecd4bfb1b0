# SPDX-License-Identifier: LGPL-2.1-or-later
"""Identifies what our initrds are composed of, apart from a kernel's modules."""

import functools
import hashlib
from pathlib import Path

from virtlayer.boot_tools import INIT, busybox
from virtlayer.errors import Internal

_FORMAT = 2
"""Of our initrds: another version composes other ones of the same files."""


def initrd_tools() -> str:
    """Return a digest of our init, of busybox and of the format; it changes with each of them.

    Raises:
        Unsupported: This host has no busybox.
        Internal: Our init is missing.
    """
    digest = hashlib.sha256(str(_FORMAT).encode())
    for program in (INIT, busybox()):
        try:
            info = program.stat()
        except OSError as error:
            raise Internal(f"{program} cannot be read: {error.strerror}.") from error
        digest.update(_digest(program, info.st_ino, info.st_size, info.st_mtime_ns))
    return digest.hexdigest()


@functools.lru_cache(maxsize=4)
def _digest(program: Path, *_stamp: int) -> bytes:
    with program.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").digest()
