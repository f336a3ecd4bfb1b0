# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories of keepers without claims (``.virtlayer-staging``), which are removed.

Each was locked with flock(2) as long as its job ran; its name has the host and the user.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
from pathlib import Path

from virtlayer.keeper.beneath import open_directory, open_directory_beneath, opened
from virtlayer.keeper.kinds.directory.removal import remove_content

FORMER_STAGING = ".virtlayer-staging"


def sweep_former_staging(pool_path: Path, owners: frozenset[int]) -> int:
    """Remove what this user's keeper on this host has left, as far as that is possible.

    Args:
        pool_path: The pool's directory.
        owners: The uids whose directories these are.

    Returns:
        How many directories there were.
    """
    swept = 0
    with contextlib.suppress(OSError), opened(open_directory(pool_path)) as pool:
        with opened(open_directory_beneath(pool, FORMER_STAGING)) as parent:
            with os.scandir(parent) as entries:
                names = [entry.name for entry in entries if entry.name.startswith(own_prefix())]
            for name in names:
                with contextlib.suppress(OSError):
                    swept += _swept(parent, name, owners)
        os.rmdir(FORMER_STAGING, dir_fd=pool)
    return swept


def own_prefix() -> str:
    """The beginning of the names of this user's directories on this host."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = platform.node()
    tag = hashlib.sha256(f"virtlayer staging {machine}".encode()).hexdigest()[:8]
    return f"{tag}-{os.geteuid()}-"


def _swept(parent: int, name: str, owners: frozenset[int]) -> bool:
    with opened(open_directory_beneath(parent, name)) as directory:
        if os.fstat(directory).st_uid not in owners:
            return False
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        remove_content(directory)
        os.rmdir(name, dir_fd=parent)
        return True
