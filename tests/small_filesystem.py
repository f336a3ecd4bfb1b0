# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system in memory that is soon full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_filesystem(directory: Path, size: int, *, inodes: int = 1000) -> Iterator[None]:
    """Mount a tmpfs of so many bytes, writable for all; a user who is not root needs sudo."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    options = f"size={size},nr_inodes={inodes},mode=777"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run([*sudo, "umount", directory], check=True)
