# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the entries of a layer do to the tree below it.

The specification is the OCI image-spec, "layer.md"; docs/layers.md says where it leaves a choice
and which one was made. Nothing here can reach anything but the tree: a path is a list of names
that are looked up in it, ``..`` stops at its root, and so does a symlink.
"""

from __future__ import annotations

from collections import defaultdict, deque

from virtlayer.layer.archive import HARD_LINK, Archive, BadArchive, Entry
from virtlayer.layer.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    REGULAR,
    SYMLINK,
    Child,
    Metadata,
    Tree,
)

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
"""What aufs kept beside its files; it says nothing about the image."""

_SYMLINKS_FOLLOWED = 40
_NAME_LIMIT = 255
_TARGET_LIMIT = 4095
_MAJOR_LIMIT, _MINOR_LIMIT = 1 << 12, 1 << 20
_IMPLIED_MODE = 0o755


class TooLarge(Exception):
    """An entry goes beyond what ext4 or Linux can hold.

    Args:
        problem: What is too large.
        name: The entry.
    """

    def __init__(self, problem: str, name: bytes) -> None:
        super().__init__(problem)
        self.problem = problem
        self.name = name


class LayerApplication:
    """The application of one layer to a tree.

    Args:
        tree: The tree, with everything that the layers below have put there.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # A whiteout hides what lower layers have, wherever in the archive it stands, so what comes
        # from this layer is remembered: its names by directory, and the directories above them.
        self._upper: dict[int, set[bytes]] = defaultdict(set)
        self._passed: set[int] = set()
        self._resolved: dict[bytes, int] = {}

    def apply(self, entry: Entry, archive: Archive) -> None:
        """Apply one entry, reading its content from the archive where it has any.

        Raises:
            BadArchive: The entry makes no sense.
            TooLarge: It is more than can be stored.
        """
        path = _path(entry)
        if not path:
            self._apply_to_root(entry)
            return
        name = path.pop()
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(path, name, entry)
            return
        directory = self._parent(path, entry)
        if entry.kind == HARD_LINK:
            self._link(directory, name, entry)
        else:
            self._put(directory, name, entry, archive)
        self._upper[directory].add(name)

    def _apply_to_root(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise BadArchive("the root of the image is a directory and nothing else", entry.name)
        self._tree.set_directory_metadata(self._tree.root, entry.metadata)

    # ---- putting things there ----

    def _put(self, directory: int, name: bytes, entry: Entry, archive: Archive) -> None:
        tree = self._tree
        existing = tree.find(directory, name)
        if existing:
            if entry.kind == existing.kind == DIRECTORY:
                tree.set_directory_metadata(existing.node, entry.metadata)
                return
            self._remove(directory, name, existing)
        kind, metadata = entry.kind, entry.metadata
        if kind == REGULAR:
            tree.add_file(directory, name, metadata, _EntryContent(entry, archive))
        elif kind == DIRECTORY:
            tree.add_directory(directory, name, metadata)
        elif kind == SYMLINK:
            tree.add_symlink(directory, name, metadata, _symlink_target(entry))
        else:
            if kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
                _check_device(entry)
            tree.add_special(directory, name, metadata, kind, entry.major, entry.minor)

    def _link(self, directory: int, name: bytes, entry: Entry) -> None:
        target = self._link_target(entry)
        existing = self._tree.find(directory, name)
        if existing:
            if existing.node == target.node:
                return
            self._remove(directory, name, existing)
            if existing.kind == DIRECTORY:
                target = self._link_target(entry)  # it may have been in there
        self._tree.add_link(directory, name, target)

    def _link_target(self, entry: Entry) -> Child:
        path = _clean(entry.link)
        shown = entry.link.decode(errors="backslashreplace")
        if not path:
            raise BadArchive(f"a hard link to the directory “{shown}”", entry.name)
        name = path.pop()
        directory = self._walk(path, entry, implied=None)
        target = None if directory is None else self._tree.find(directory, name)
        if target is None:
            raise BadArchive(f"a hard link to “{shown}”, which is not there", entry.name)
        if target.kind == DIRECTORY:
            raise BadArchive(f"a hard link to the directory “{shown}”", entry.name)
        return target

    # ---- taking things away ----

    def _apply_whiteout(self, path: list[bytes], name: bytes, entry: Entry) -> None:
        directory = self._walk(path, entry, implied=None)
        if name == _OPAQUE:
            if directory is not None:
                self._hide_all(directory)
            return
        if name.startswith(_AUFS):
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise BadArchive("a whiteout that names no file", entry.name)
        if directory is not None:
            self._hide(directory, hidden)

    def _hide_all(self, directory: int) -> None:
        for name in self._tree.names(directory):
            self._hide(directory, name)

    def _hide(self, directory: int, name: bytes) -> None:
        """Remove what lower layers have below a name, and keep what this one has put there."""
        waiting = [(directory, name)]
        while waiting:
            directory, name = waiting.pop()
            child = self._tree.find(directory, name)
            if child is None:
                continue
            is_upper = name in self._upper[directory]
            if child.kind == DIRECTORY and (is_upper or child.node in self._passed):
                waiting += [(child.node, below) for below in self._tree.names(child.node)]
            elif not is_upper:
                self._remove(directory, name, child)

    def _remove(self, directory: int, name: bytes, child: Child) -> None:
        for gone in self._tree.remove(directory, name):
            self._upper.pop(gone, None)
            self._passed.discard(gone)
        if child.kind in (DIRECTORY, SYMLINK):
            self._resolved.clear()
        self._upper[directory].discard(name)

    # ---- finding directories ----

    def _parent(self, path: list[bytes], entry: Entry) -> int:
        """The directory that a path leads to; what is missing of it is made."""
        key = b"/".join(path)
        directory = self._resolved.get(key)
        if directory is None:
            implied = Metadata(_IMPLIED_MODE, 0, 0, entry.metadata.mtime)
            directory = self._walk(path, entry, implied)
            assert directory is not None
            self._resolved[key] = directory
        return directory

    def _walk(self, path: list[bytes], entry: Entry, implied: Metadata | None) -> int | None:
        """Follow a path from the root, with the root of the image as ``/``.

        Args:
            path: Names.
            entry: On whose behalf, for the errors.
            implied: What a missing directory is made with; None to make none.

        Returns:
            None where a directory is missing and none is made.
        """
        tree = self._tree
        stack = [tree.root]
        waiting = deque(path)
        followed = 0
        while waiting:
            name = waiting.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del stack[max(1, len(stack) - 1) :]
                continue
            child = tree.find(stack[-1], name)
            if child is None:
                if implied is None:
                    return None
                child = Child(tree.add_directory(stack[-1], name, implied), DIRECTORY)
                self._upper[stack[-1]].add(name)
            if child.kind == SYMLINK:
                followed += 1
                if followed > _SYMLINKS_FOLLOWED:
                    raise BadArchive("its path goes round in symlinks", entry.name)
                target = tree.target(child.node)
                if target.startswith(b"/"):
                    del stack[1:]
                waiting.extendleft(reversed(target.split(b"/")))
            elif child.kind == DIRECTORY:
                stack.append(child.node)
                if implied is not None:
                    self._passed.add(child.node)
            elif implied is None:
                return None
            else:
                raise BadArchive(
                    f"“{name.decode(errors='backslashreplace')}” in its path is no directory",
                    entry.name,
                )
        return stack[-1]


class _EntryContent:
    """The content of a regular file, still in the archive."""

    __slots__ = ("pieces", "segments", "size")

    def __init__(self, entry: Entry, archive: Archive) -> None:
        self.size = entry.size
        self.segments = entry.segments
        self.pieces = archive.pieces


def _path(entry: Entry) -> list[bytes]:
    path = _clean(entry.name)
    for name in path:
        if len(name) > _NAME_LIMIT:
            raise TooLarge(f"a name of {len(name)} bytes; ext4 has {_NAME_LIMIT}", entry.name)
    return path


def _clean(name: bytes) -> list[bytes]:
    """The names of a path, with ``..`` taken back and stopping at the root."""
    path: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del path[-1:]
        elif part and part != b".":
            path.append(part)
    return path


def _symlink_target(entry: Entry) -> bytes:
    if not entry.link:
        raise BadArchive("a symlink to nothing", entry.name)
    if len(entry.link) > _TARGET_LIMIT:
        raise TooLarge(
            f"a symlink target of {len(entry.link)} bytes; Linux has {_TARGET_LIMIT}", entry.name
        )
    return entry.link


def _check_device(entry: Entry) -> None:
    if not (0 <= entry.major < _MAJOR_LIMIT and 0 <= entry.minor < _MINOR_LIMIT):
        raise BadArchive(f"the device number {entry.major}:{entry.minor} is none", entry.name)
