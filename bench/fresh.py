# SPDX-License-Identifier: LGPL-2.1-or-later
"""A new file system for each run of a contestant.

Contestants that make tens of thousands of files get slower with each run on a file system that has
had them before. Compared there, virtlayer would look better than it is.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench.commands import run
from bench.inputs import Image
from bench.result import Contestant, Finished

_BYTES = 16 * 1024**3


class OnFreshFilesystem:
    """Another contestant, whose directory is a new ext4.

    Args:
        contestant: The contestant.
    """

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Let the contestant do its work there."""
        with _fresh_filesystem(directory), self._contestant(image, directory) as finished:
            yield finished


@contextlib.contextmanager
def _fresh_filesystem(directory: Path) -> Iterator[None]:
    """Mount a new ext4 on a directory.

    Its file is allocated first, and written past the page cache: the loop device costs little then.
    """
    file = directory.with_suffix(".ext4")
    with contextlib.ExitStack() as stack:
        with file.open("xb") as stream:
            stack.callback(file.unlink)
            os.posix_fallocate(stream.fileno(), 0, _BYTES)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", file)
        device = run("losetup", "--find", "--show", "--direct-io=on", file).strip()
        stack.callback(run, "losetup", "--detach", device)
        run("mount", device, directory)
        stack.callback(run, "umount", directory)
        (directory / "lost+found").rmdir()
        yield
