# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths inside a tree, followed the way a process whose root directory it is would follow them.

A symlink that starts with ``/`` starts at the tree's root, and ``..`` stops there: no path of an
image leads out of the tree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from virtlayer.worker.problems import quoted
from virtlayer.worker.tree import DIRECTORY, SYMLINK, Child, Tree

_SYMLINKS_FOLLOWED = 40
_PATH_LIMIT = 4096
_NAME_LIMIT = 255

type MakeDirectory = Callable[[int, bytes], int]
"""Makes a directory of that name in a directory, and returns its node."""


class Lost(Exception):
    """A path leads nowhere; the text is the end of a sentence about the entry that has it."""


class NoDirectory(Lost):
    """A part of the path is missing and not made, or is not a directory."""


class Place(NamedTuple):
    """A name in a directory, and what is there: never a symlink; None for nothing."""

    directory: int
    name: bytes
    child: Child | None


class Way:
    """A path through a tree: the directories from its root to the current one.

    Args:
        tree: The tree.
        make: For directories that are missing on the way; None to make none.
        length_limit: The bytes of all symlinks that are followed, together.
    """

    def __init__(
        self, tree: Tree, make: MakeDirectory | None = None, *, length_limit: int = _PATH_LIMIT
    ) -> None:
        self.stack = [tree.root]
        self._tree = tree
        self._make = make
        self._limit = length_limit
        self._followed = 0
        self._length = 0

    @property
    def end(self) -> int:
        """The current directory."""
        return self.stack[-1]

    def go(self, names: Iterable[bytes]) -> Iterator[int]:
        """Go on from here.

        Yields:
            Each directory as it is entered, so that the caller can see, count or stop.

        Raises:
            NoDirectory: A directory is missing and none is made, or something else is there.
            Lost: Too many symlinks are followed, or they are too long.
        """
        waiting = deque(names)
        while waiting:
            name = waiting.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del self.stack[max(1, len(self.stack) - 1) :]
                continue
            child = self._tree.find(self.end, name) or self._made(name)
            if child.kind == SYMLINK:
                waiting.extendleft(reversed(self.turn(child).split(b"/")))
            elif child.kind == DIRECTORY:
                self.stack.append(child.node)
                yield child.node
            else:
                raise NoDirectory(f"{quoted(name)} in its path is not a directory")

    def turn(self, symlink: Child) -> bytes:
        """Follow a symlink: where to go from here, or from the root."""
        target = self._tree.target(symlink.node)
        self._followed += 1
        self._length += len(target)
        if self._followed > _SYMLINKS_FOLLOWED:
            raise Lost("its path has a loop of symlinks")
        if self._length > self._limit:
            raise Lost("its path is too long after its symlinks are resolved")
        if target.startswith(b"/"):
            del self.stack[1:]
        return target

    def _made(self, name: bytes) -> Child:
        if self._make is None:
            raise NoDirectory(f"{quoted(name)} in its path does not exist")
        return Child(self._make(self.end, name), DIRECTORY)


def directory_of(tree: Tree, path: bytes, make: MakeDirectory | None) -> int:
    """The directory that a path leads to.

    Args:
        tree: The tree.
        path: From its root.
        make: For directories that are missing on the way; None to make none.

    Raises:
        NoDirectory: A directory is missing and none is made, or something else is there.
        Lost: The path leads to no directory for another reason.
    """
    return _reached(_way(tree, make), path.split(b"/"))


def place_of(tree: Tree, path: bytes, make: MakeDirectory | None) -> Place:
    """The place that a path leads to, when every symlink on the way is followed, also the last.

    Args:
        tree: The tree.
        path: From its root.
        make: For directories that are missing on the way; None to make none.

    Raises:
        NoDirectory: A directory is missing and none is made, or something else is there.
        Lost: The path leads to no place that could have a file, for another reason.
    """
    way = _way(tree, make)
    while True:
        names = [name for name in path.split(b"/") if name not in (b"", b".")]
        if not names or names[-1] == b"..":
            raise Lost("its path leads to a directory")
        *parents, name = names
        directory = _reached(way, parents)
        child = tree.find(directory, name)
        if child is None or child.kind != SYMLINK:
            _check_length(name)
            return Place(directory, name, child)
        path = way.turn(child)


def _way(tree: Tree, make: MakeDirectory | None) -> Way:
    if make is None:
        return Way(tree)

    def made(directory: int, name: bytes) -> int:
        _check_length(name)
        return make(directory, name)

    return Way(tree, made)


def _reached(way: Way, names: Iterable[bytes]) -> int:
    for _ in way.go(names):
        pass
    return way.end


def _check_length(name: bytes) -> None:
    if len(name) > _NAME_LIMIT:
        raise Lost("a name in its path is too long")
