# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the nodes of a directory tree by number, with a bounded number of descriptors.

The kernel is never given a path, only a name in a directory that is open, and it follows no
symlink. A directory whose descriptor was closed is opened again by its path from the root. The path
does not change, because nothing is renamed.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable

_OPEN_DIRECTORIES = 64
_FILES_KNOWN = 1024
"""A caller that asks about a file has just found it."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Places:
    """The places of the nodes that were met so far.

    Args:
        root: A descriptor of the root directory; stays the caller's.
        before_opening: Called with a directory's node, its parent's descriptor and its name there.
    """

    def __init__(self, root: int, before_opening: Callable[[int, int, bytes], None]) -> None:
        self.root = os.fstat(root).st_ino
        self._root = root
        self._before_opening = before_opening
        self._directories: dict[int, tuple[int, bytes]] = {}
        self._files: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._open: OrderedDict[int, int] = OrderedDict()

    def note(self, node: int, directory: int, name: bytes, *, is_directory: bool) -> None:
        """Remember where a node was met."""
        if is_directory:
            self._directories[node] = (directory, name)
            return
        self._files[node] = (directory, name)
        self._files.move_to_end(node)
        if len(self._files) > _FILES_KNOWN:
            self._files.popitem(last=False)

    def file(self, node: int) -> tuple[int, bytes]:
        """The directory of a file that was met just before, and its name there."""
        return self._files[node]

    def directory(self, node: int) -> tuple[int, bytes]:
        """The same of a directory, which is not the root."""
        return self._directories[node]

    def is_directory(self, node: int) -> bool:
        """Whether a node is a directory that was met, and not the root."""
        return node in self._directories

    def depth(self, directory: int) -> int:
        """How many directories a directory is below the root."""
        depth = 0
        while directory != self.root:
            directory, _ = self._directories[directory]
            depth += 1
        return depth

    def descriptor(self, directory: int) -> int:
        """An open descriptor; it stays open at least until many others were asked for."""
        if directory == self.root:
            return self._root
        descriptor = self._open.get(directory)
        if descriptor is None:
            descriptor = self._opened(directory)
            self._open[directory] = descriptor
            if len(self._open) > _OPEN_DIRECTORIES:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(directory)
        return descriptor

    def forget(self, directory: int) -> None:
        """Forget a directory that was removed."""
        del self._directories[directory]
        descriptor = self._open.pop(directory, None)
        if descriptor is not None:
            os.close(descriptor)

    def _opened(self, directory: int) -> int:
        """Open a directory, and the ones above it up to the nearest one that is open."""
        way = []
        while directory != self.root and directory not in self._open:
            parent, name = self._directories[directory]
            way.append((directory, name))
            directory = parent
        start = here = self._root if directory == self.root else self._open[directory]
        for node, name in reversed(way):
            try:
                self._before_opening(node, here, name)
                below = os.open(name, _OPEN, dir_fd=here)
            finally:
                if here != start:
                    os.close(here)
            here = below
        return here
