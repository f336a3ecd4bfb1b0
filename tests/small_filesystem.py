# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system in memory that is soon full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.privileges import as_root


@contextlib.contextmanager
def small_filesystem(directory: Path, size: int, *, inodes: int = 1000) -> Iterator[None]:
    """Mount a tmpfs of so many bytes, for all to write to; it is who runs the tests that has it."""
    options = f"size={size},nr_inodes={inodes},mode=777,uid={os.geteuid()}"
    subprocess.run(as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", directory), check=True)
    try:
        yield
    finally:
        subprocess.run(as_root("umount", directory), check=True)
