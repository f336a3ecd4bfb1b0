# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths inside a tree, followed the way a process whose root directory it is would follow them.

A symlink that starts with ``/`` starts at the tree's root, and ``..`` stops there: nothing that an
image says leads anywhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from virtlayer.layer.tree import DIRECTORY, SYMLINK, Child, Tree

_SYMLINKS_FOLLOWED = 40
_LENGTH_LIMIT = 4096
"""Bytes of all symlinks on one way: Linux has as much for a path."""
_NAME_LIMIT = 255

type MakeDirectory = Callable[[int, bytes], int]
"""Makes a directory of that name in a directory, and returns its node."""


class Lost(Exception):
    """A path leads nowhere."""


class Place(NamedTuple):
    """A name in a directory, and what is there: not a symlink any more; None for nothing."""

    directory: int
    name: bytes
    child: Child | None


def place_of(tree: Tree, path: bytes, make: MakeDirectory) -> Place:
    """The place that a path leads to, when every symlink on the way is followed, also the last.

    Args:
        tree: The tree.
        path: From its root.
        make: For directories that are missing on the way.

    Raises:
        Lost: The path goes round in symlinks, or through something that is no directory.
    """
    way = _Way(tree, make)
    waiting = path
    while True:
        *parents, name = _names(waiting)
        way.go(parents)
        if name == b"..":
            raise Lost("it leads to a directory")
        child = tree.find(way.stack[-1], name)
        if child is None:
            _check_length(name)
        if child is None or child.kind != SYMLINK:
            return Place(way.stack[-1], name, child)
        waiting = way.turn(child)


def directory_of(tree: Tree, path: bytes, make: MakeDirectory) -> int:
    """The directory that a path leads to; what is missing of it is made.

    Raises:
        Lost: As ``place_of``.
    """
    way = _Way(tree, make)
    way.go(path.split(b"/"))
    return way.stack[-1]


def _names(path: bytes) -> list[bytes]:
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if not names:
        raise Lost("it leads to a directory")
    return names


def _check_length(name: bytes) -> None:
    if len(name) > _NAME_LIMIT:
        raise Lost("a name in it is too long")


class _Way:
    """A way through a tree: the directories from its root to where it has got."""

    def __init__(self, tree: Tree, make: MakeDirectory) -> None:
        self.stack = [tree.root]
        self._tree = tree
        self._make = make
        self._followed = 0
        self._length = 0

    def go(self, names: Iterable[bytes]) -> None:
        waiting = deque(names)
        while waiting:
            name = waiting.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del self.stack[max(1, len(self.stack) - 1) :]
                continue
            child = self._tree.find(self.stack[-1], name)
            if child is None:
                _check_length(name)
                child = Child(self._make(self.stack[-1], name), DIRECTORY)
            if child.kind == SYMLINK:
                waiting.extendleft(reversed(self.turn(child).split(b"/")))
            elif child.kind == DIRECTORY:
                self.stack.append(child.node)
            else:
                raise Lost("something on its way is no directory")

    def turn(self, symlink: Child) -> bytes:
        """Follow a symlink: where to go from here, or from the root."""
        target = self._tree.target(symlink.node)
        self._followed += 1
        self._length += len(target)
        if self._followed > _SYMLINKS_FOLLOWED or self._length > _LENGTH_LIMIT:
            raise Lost("it goes round in symlinks")
        if target.startswith(b"/"):
            del self.stack[1:]
        return target
