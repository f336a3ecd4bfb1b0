# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of an image by their paths; symlinks are followed inside the image only."""

from __future__ import annotations

from collections.abc import Iterator

from virtlayer.sizes import human_size
from virtlayer.worker.ext4.image import Ext4Image
from virtlayer.worker.kernel.module_tree import DEPTH_LIMIT, ENTRIES_LIMIT
from virtlayer.worker.kernel.unusable import Unusable, about
from virtlayer.worker.paths import Lost, NoDirectory, place_of
from virtlayer.worker.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    REGULAR,
    SOCKET,
    Child,
)

_KINDS = {
    DIRECTORY: "a directory",
    CHARACTER_DEVICE: "a device",
    BLOCK_DEVICE: "a device",
    FIFO: "a FIFO",
    SOCKET: "a socket",
}


class ImageFiles:
    """The files of an image.

    Args:
        tree: Its file system.
    """

    def __init__(self, tree: Ext4Image) -> None:
        self.tree = tree

    def find(self, path: bytes) -> Child | None:
        """What a path leads to, when every symlink is followed; None if nothing.

        Raises:
            Unusable: Its symlinks form a loop, or are too many.
        """
        try:
            return place_of(self.tree, path, None).child
        except NoDirectory:
            return None
        except Lost as lost:
            raise about(b"/" + path, str(lost)) from lost

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, sorted; none if there is no such directory.

        Raises:
            Unusable: See ``find``.
        """
        child = self.find(path)
        if child is None or child.kind != DIRECTORY:
            return []
        return sorted(self.tree.names(child.node))

    def has_file(self, path: bytes) -> bool:
        """Whether a path leads to a regular file; no other file is an error."""
        try:
            child = self.find(path)
        except Unusable:
            return False
        return child is not None and child.kind == REGULAR

    def file(self, path: bytes, limit: int) -> int:
        """The node of a regular file.

        Args:
            path: From the root of the image.
            limit: The most bytes that it may have.

        Raises:
            Unusable: It does not exist, is not a regular file, or is too large.
        """
        child = self.find(path)
        if child is None:
            raise about(b"/" + path, "it does not exist, or is a symlink to nothing")
        if child.kind != REGULAR:
            kind = _KINDS.get(child.kind, "something else")
            raise about(b"/" + path, f"it is {kind}, not a regular file")
        if self.tree.file_size(child.node) > limit:
            raise about(b"/" + path, f"it has more than {human_size(limit)}")
        return child.node

    def pieces(self, path: bytes, limit: int) -> Iterator[bytes]:
        """The content of a regular file, in pieces; see ``file``."""
        return self.tree.pieces(self.file(path, limit))

    def content(self, path: bytes, limit: int) -> bytes:
        """The content of a regular file; see ``file``."""
        return b"".join(self.pieces(path, limit))


class ImageModules:
    """The modules of a kernel in an image; see ``ModuleTree``.

    Args:
        files: The files of the image.
        directory: The path of the directory of the modules.
    """

    def __init__(self, files: ImageFiles, directory: bytes) -> None:
        self._files = files
        self._directory = directory

    def paths(self) -> Iterator[str]:
        """See ``ModuleTree``."""
        top = self._files.find(self._directory)
        if top is None or top.kind != DIRECTORY:
            return
        tree, entries = self._files.tree, 0
        waiting = [(top.node, "", 0)]
        while waiting:
            directory, prefix, depth = waiting.pop()
            for name in tree.names(directory):
                entries += 1
                if entries > ENTRIES_LIMIT or depth > DEPTH_LIMIT:
                    raise about(b"/" + self._directory, "it has too many files or directories")
                child = tree.find(directory, name)
                # A name that is not UTF-8 is no module's.
                path = prefix + name.decode(errors="replace")
                if child is not None and child.kind == DIRECTORY:
                    waiting.append((child.node, f"{path}/", depth + 1))
                elif child is not None and child.kind == REGULAR:
                    yield path

    def read(self, path: str, limit: int) -> bytes | None:
        """See ``ModuleTree``."""
        whole = self._directory + b"/" + path.encode()
        if self._files.find(whole) is None:
            return None
        return self._files.content(whole, limit)
