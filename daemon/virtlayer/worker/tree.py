# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interface of what a layer is applied to: directories, names and nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

# The kinds of node, with the numbers that ext4's directory entries have for them.
REGULAR, DIRECTORY, CHARACTER_DEVICE, BLOCK_DEVICE, FIFO, SOCKET, SYMLINK = range(1, 8)

NO_ATTRIBUTES: Mapping[bytes, bytes] = {}


class Metadata(NamedTuple):
    """The metadata of a node."""

    mode: int
    """Permission bits with setuid, setgid and sticky; no type."""
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since 1970."""
    attributes: Mapping[bytes, bytes] = NO_ATTRIBUTES
    """Extended attributes by their full names, values as setxattr(2) takes them."""


class Child(NamedTuple):
    """What a name in a directory leads to."""

    node: int
    kind: int


class Content(Protocol):
    """The bytes of a regular file that is being added."""

    @property
    def size(self) -> int:
        """The size of the file in bytes, holes included."""

    @property
    def segments(self) -> Iterable[tuple[int, int]]:
        """Offset and length of each stretch of data, ascending; the rest are holes."""

    def pieces(self, length: int) -> Iterator[memoryview]:
        """The next bytes of data, as many as that, in pieces."""

    def whole(self) -> memoryview | None:
        """All of the file, if it has no holes and is in memory in one piece; else None.

        The returned bytes count as read; call it before anything else is read.
        """


class Tree(Protocol):
    """A file system that a layer is applied to.

    Nodes are numbers that stay the same as long as the node is there. A caller that adds a name
    makes sure that it is free.
    """

    @property
    def root(self) -> int:
        """The node of the root directory."""

    def find(self, directory: int, name: bytes) -> Child | None:
        """What the name leads to; a symlink is not followed."""

    def names(self, directory: int) -> list[bytes]:
        """Every name in the directory but ``.`` and ``..``."""

    def target(self, symlink: int) -> bytes:
        """The target of a symlink."""

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        """Add an empty directory and return its node."""

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        """Add a regular file."""

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        """Add a symlink."""

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        """Add a device, a FIFO or a socket; the numbers count for devices only."""

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        """Add one more name for a node that is not a directory."""

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        """Replace the metadata of a directory."""

    def remove(self, directory: int, name: bytes) -> None:
        """Remove a name and, where it was the last one, its node, with everything below."""


class ReadableTree(Tree, Protocol):
    """A tree whose files can also be read."""

    def content(self, file: int, limit: int) -> bytes | None:
        """The content of a regular file; None if it has more bytes than the limit."""
