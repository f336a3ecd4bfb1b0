# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small files of an image, read and replaced as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from virtlayer.protocol.id_ranges import Owners
from virtlayer.sizes import human_size
from virtlayer.worker.paths import Lost, Place, directory_of, place_of
from virtlayer.worker.tree import NO_ATTRIBUTES, REGULAR, Metadata, ReadableTree

_SIZE_LIMIT = 4 * 1024 * 1024
_DIRECTORY_MODE = 0o755


class CannotCustomize(Exception):
    """The image cannot be customized.

    Args:
        problem: What is wrong, as the second half of a sentence about the image.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class EditableTree(ReadableTree, Protocol):
    """A tree that can be customized."""

    def metadata(self, node: int) -> Metadata:
        """The metadata of a node."""

    def map_owners(self, owners: Owners) -> None:
        """Map the ids of every node once, even if it has several names."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A regular file of an image, as it is or as it is to be written.

    Attributes:
        content: All of it.
        mode: Permission bits.
        uid: The owner.
        gid: The group.
        attributes: The extended attributes, which a new content does not change.
    """

    content: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    attributes: Mapping[bytes, bytes] = dataclasses.field(default_factory=lambda: NO_ATTRIBUTES)


class ImageFiles:
    """The files of an image by their paths; symlinks are followed inside the image only.

    Args:
        tree: The image.
        now: The time that changed files get, in nanoseconds since 1970.
    """

    def __init__(self, tree: EditableTree, now: int) -> None:
        self._tree = tree
        self._now = now

    def read(self, path: bytes) -> ImageFile | None:
        """A file; None if it does not exist.

        Raises:
            CannotCustomize: Something else has that path, or the file is too large.
        """
        place = self._place(path)
        if place.child is None:
            return None
        content = self._tree.content(place.child.node, _SIZE_LIMIT)
        if content is None:
            raise CannotCustomize(
                f"has a /{path.decode()} that is larger than {human_size(_SIZE_LIMIT)}"
            )
        has = self._tree.metadata(place.child.node)
        return ImageFile(content, has.mode, has.uid, has.gid, has.attributes)

    def write(self, path: bytes, file: ImageFile) -> None:
        """Write a file, and replace the one that ``read`` returned.

        Raises:
            CannotCustomize: Something other than a file has that path.
        """
        place = self._place(path)
        if place.child is not None:
            self._tree.remove(place.directory, place.name)
        metadata = Metadata(file.mode, file.uid, file.gid, self._now, file.attributes)
        self._tree.add_file(place.directory, place.name, metadata, _Bytes(file.content))

    def own_directory(self, path: bytes, mode: int, uid: int, gid: int) -> None:
        """Create a directory, or set mode and owner of the existing one.

        Raises:
            CannotCustomize: Something else is there.
        """
        directory = self._directory(path)
        has = self._tree.metadata(directory)
        wanted = has._replace(mode=mode, uid=uid, gid=gid)
        if wanted != has:
            self._tree.set_directory_metadata(directory, wanted)

    def _place(self, path: bytes) -> Place:
        try:
            place = place_of(self._tree, path, self._make_directory)
        except Lost as lost:
            raise CannotCustomize(f"has a /{_shown(path)} that cannot be used: {lost}") from lost
        if place.child is not None and place.child.kind != REGULAR:
            raise CannotCustomize(f"has something at /{_shown(path)} that is not a regular file")
        return place

    def _directory(self, path: bytes) -> int:
        try:
            return directory_of(self._tree, path, self._make_directory)
        except Lost as lost:
            raise CannotCustomize(f"has a /{_shown(path)} that cannot be used: {lost}") from lost

    def _make_directory(self, directory: int, name: bytes) -> int:
        return self._tree.add_directory(directory, name, Metadata(_DIRECTORY_MODE, 0, 0, self._now))


class _Bytes:
    """The content of a new file, in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self.size = len(content)
        self.segments = [(0, len(content))] if content else []

    def pieces(self, length: int) -> Iterator[memoryview]:
        piece, self._content = self._content[:length], self._content[length:]
        yield piece

    def whole(self) -> memoryview:
        return self._content


def _shown(path: bytes) -> str:
    return path.lstrip(b"/").decode(errors="backslashreplace")[:200]
