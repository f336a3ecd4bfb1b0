# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems in memory: one that is soon full, and one that is nothing but page cache."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.privileges import as_root


@contextlib.contextmanager
def small_filesystem(directory: Path, size: int, *, inodes: int = 1000) -> Iterator[None]:
    """Mount a tmpfs of so many bytes, for all to write to; it is who runs the tests that has it."""
    options = f"size={size},nr_inodes={inodes},mode=777,uid={os.geteuid()}"
    subprocess.run(as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", directory), check=True)
    try:
        yield
    finally:
        subprocess.run(as_root("umount", directory), check=True)


@contextlib.contextmanager
def memory_filesystem(directory: Path) -> Iterator[None]:
    """Mount a ramfs, for all to write to: nothing there can be opened with O_DIRECT."""
    subprocess.run(as_root("mount", "-t", "ramfs", "ramfs", directory), check=True)
    try:
        subprocess.run(as_root("chmod", "777", directory), check=True)
        yield
    finally:
        subprocess.run(as_root("umount", directory), check=True)
