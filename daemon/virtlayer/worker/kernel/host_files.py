# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel of the host and its modules, by descriptors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from virtlayer.sizes import human_size
from virtlayer.worker.kernel.module_tree import DEPTH_LIMIT, ENTRIES_LIMIT
from virtlayer.worker.kernel.unusable import Unusable, about

_PIECE = 1024 * 1024


def file_pieces(file: int, limit: int) -> Iterator[bytes]:
    """The content of an open file, in pieces.

    Args:
        file: A descriptor; stays the caller's.
        limit: The most bytes that it may have.

    Raises:
        Unusable: It is not a regular file, or is too large.
    """
    info = os.fstat(file)
    if not stat.S_ISREG(info.st_mode):
        raise Unusable("is not a regular file")
    if info.st_size > limit:
        raise Unusable(f"has more than {human_size(limit)}")
    os.lseek(file, 0, os.SEEK_SET)
    left = limit
    # It may be growing.
    while left and (piece := os.read(file, min(_PIECE, left))):
        left -= len(piece)
        yield piece


class HostModules:
    """The modules of a kernel of the host; see ``ModuleTree``.

    Args:
        directory: A descriptor of their directory; stays the caller's.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def paths(self) -> Iterator[str]:
        """See ``ModuleTree``."""
        entries = 0
        waiting = [("", 0)]
        while waiting:
            prefix, depth = waiting.pop()
            for name, is_directory in self._listed(prefix):
                entries += 1
                if entries > ENTRIES_LIMIT or depth > DEPTH_LIMIT:
                    raise Unusable("has modules with too many files or directories")
                if is_directory:
                    waiting.append((f"{prefix}{name}/", depth + 1))
                else:
                    yield prefix + name

    def read(self, path: str, limit: int) -> bytes | None:
        """See ``ModuleTree``."""
        # A FIFO would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            file = os.open(path, flags, dir_fd=self._directory)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise about(path, f"it cannot be read ({error.strerror})") from error
        try:
            return b"".join(file_pieces(file, limit))
        except Unusable as error:
            raise about(path, f"it {error.problem}") from error
        finally:
            os.close(file)

    def _listed(self, prefix: str) -> list[tuple[str, bool]]:
        """The files and directories in a directory, and whether each is a directory."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            directory = os.open(prefix or ".", flags, dir_fd=self._directory)
        except OSError as error:
            raise about(prefix, f"it cannot be read ({error.strerror})") from error
        try:
            with os.scandir(directory) as entries:
                return [
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                ]
        finally:
            os.close(directory)
