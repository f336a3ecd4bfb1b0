# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applies the entries of a layer to the tree of the layers below it.

The specification is the OCI image-spec, "layer.md"; docs/layers.md says where it leaves a choice
and which one was made. Only the tree can be accessed here: a path is a list of names
that are looked up in it, ``..`` stops at its root, and so does a symlink.
"""

from __future__ import annotations

from virtlayer.protocol.layer_limits import LayerLimits
from virtlayer.worker.archive.archive import HARD_LINK, Archive, Entry
from virtlayer.worker.paths import Lost, MakeDirectory, NoDirectory, Way
from virtlayer.worker.problems import BadArchive, TooLarge, quoted
from virtlayer.worker.tree import (
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
"""Metadata of aufs, which is not a part of the image."""

_NO_NAMES = (b"", b".", b"..")
_RESOLVED_KEPT = 10_000
_NAME_LIMIT = 255
_TARGET_LIMIT = 4095
_FILE_LIMIT = (2**32 - 1) * 4096
_MAJOR_LIMIT, _MINOR_LIMIT = 1 << 12, 1 << 20
_IMPLIED_MODE = 0o755
_SYMLINK_MODE = 0o777


def path_in_question(name: bytes) -> bytes:
    """The path that an entry of this name is about: for a whiteout, the path that it hides."""
    head, slash, last = name.rpartition(b"/")
    return head + slash + last.removeprefix(_WHITEOUT)


class LayerApplication:
    """The application of one layer to a tree.

    Args:
        tree: The tree, with everything that the layers below have put there.
        limits: How much an entry may ask for.
    """

    def __init__(self, tree: Tree, limits: LayerLimits) -> None:
        self._tree = tree
        self._limits = limits
        # A whiteout hides what lower layers have, wherever in the archive it stands, so what comes
        # from this layer is remembered: directories with nothing from below in them, names in
        # other directories, and the directories that an entry's path led through.
        # A node that was removed may stay in there: only a node of this layer can reuse its number.
        self._upper_directories: set[int] = set()
        # The nodes among them that lower layers have made, so that a whiteout may still hide them.
        self._cleared: set[int] = set()
        self._upper_names: set[bytes] = set()
        self._passed: set[int] = set()
        # By paths as the archive spells them: most entries are in the directory of the one before.
        self._resolved: dict[bytes, int] = {}

    def apply(self, entry: Entry, archive: Archive) -> None:
        """Apply one entry, reading its content from the archive where it has any.

        Raises:
            BadArchive: The entry is invalid.
            TooLarge: It is more than can be stored.
        """
        head, _, name = entry.name.rstrip(b"/").rpartition(b"/")
        if name in _NO_NAMES:
            path = _clean(entry.name)
            if not path:
                self._apply_to_root(entry)
                return
            name = path.pop()
            head = b"/".join(path)
        if _WHITEOUT in entry.name:
            path = _clean(head)
            if _is_aufs_metadata(path, name, entry):
                return
            if name.startswith(_WHITEOUT):
                self._apply_whiteout(path, name, entry)
                return
        _check_length(name, entry)
        directory = self._resolved.get(head) or self._parent(head, entry)
        if entry.kind == HARD_LINK:
            self._link(directory, name, entry)
        else:
            self._put(directory, name, entry, archive)
        self._remember(directory, name)

    def _apply_to_root(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise BadArchive("the root of the image must be a directory", entry.name)
        self._tree.set_directory_metadata(self._tree.root, entry.metadata)

    # ---- adding ----

    def _put(self, directory: int, name: bytes, entry: Entry, archive: Archive) -> None:
        tree = self._tree
        existing = tree.find(directory, name)
        if existing:
            if entry.kind == existing.kind == DIRECTORY:
                tree.set_directory_metadata(existing.node, entry.metadata)
                return
            self._remove(directory, name, existing.kind)
        kind, metadata = entry.kind, entry.metadata
        if kind == REGULAR:
            if entry.size > _FILE_LIMIT:
                raise TooLarge(
                    f"a file of {entry.size} bytes; the limit of ext4 is {_FILE_LIMIT}", entry.name
                )
            tree.add_file(directory, name, metadata, _EntryContent(entry, archive))
        elif kind == DIRECTORY:
            self._upper_directories.add(tree.add_directory(directory, name, metadata))
        elif kind == SYMLINK:
            # Linux has no other mode for them.
            metadata = metadata._replace(mode=_SYMLINK_MODE)
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
            self._remove(directory, name, existing.kind)
            if existing.kind == DIRECTORY:
                target = self._link_target(entry)  # it may have been in there
        self._tree.add_link(directory, name, target)

    def _link_target(self, entry: Entry) -> Child:
        path = _clean(entry.link)
        shown = quoted(entry.link)
        if not path:
            raise BadArchive(f"a hard link to the directory {shown}", entry.name)
        name = path.pop()
        directory = self._walk(path, entry, implied=None)
        target = None if directory is None else self._tree.find(directory, name)
        if target is None:
            raise BadArchive(f"a hard link to {shown}, which does not exist", entry.name)
        if target.kind == DIRECTORY:
            raise BadArchive(f"a hard link to the directory {shown}", entry.name)
        return target

    # ---- removing ----

    def _apply_whiteout(self, path: list[bytes], name: bytes, entry: Entry) -> None:
        directory = self._walk(path, entry, implied=None)
        if name == _OPAQUE:
            if directory is not None:
                self._hide_all(directory)
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise BadArchive("a whiteout without a file name", entry.name)
        if directory is not None:
            self._hide(directory, hidden)

    def _hide_all(self, directory: int) -> None:
        if directory not in self._upper_directories:
            for name in self._tree.names(directory):
                self._hide(directory, name)
            self._upper_directories.add(directory)
            self._cleared.add(directory)

    def _hide(self, directory: int, name: bytes) -> None:
        """Remove what lower layers have below a name, and keep the entries of this layer."""
        tree = self._tree
        waiting = [(directory, name)]
        # A damaged file system may have a directory below itself.
        cleared: set[int] = set()
        while waiting:
            directory, name = waiting.pop()
            child = tree.find(directory, name)
            if child is None:
                continue
            is_upper = self._is_upper(directory, name)
            if child.kind == DIRECTORY and (is_upper or child.node in self._passed):
                if child.node not in self._upper_directories and child.node not in cleared:
                    waiting += [(child.node, below) for below in tree.names(child.node)]
                    cleared.add(child.node)
            elif not is_upper:
                self._remove(directory, name, child.kind)
        self._upper_directories.update(cleared)

    def _remove(self, directory: int, name: bytes, kind: int) -> None:
        self._tree.remove(directory, name)
        if kind in (DIRECTORY, SYMLINK):
            self._resolved.clear()

    # ---- entries of this layer ----

    def _remember(self, directory: int, name: bytes) -> None:
        if directory not in self._upper_directories:
            self._upper_names.add(_key(directory, name))

    def _is_upper(self, directory: int, name: bytes) -> bool:
        return directory in self._upper_directories or _key(directory, name) in self._upper_names

    # ---- finding directories ----

    def _parent(self, path: bytes, entry: Entry) -> int:
        """The directory that a path leads to; what is missing of it is made."""
        implied = Metadata(_IMPLIED_MODE, 0, 0, entry.metadata.mtime)
        directory = self._walk(_clean(path), entry, implied)
        assert directory is not None
        if len(self._resolved) >= _RESOLVED_KEPT:
            self._resolved.clear()
        self._resolved[path] = directory
        return directory

    def _walk(self, path: list[bytes], entry: Entry, implied: Metadata | None) -> int | None:
        """Follow a path from the root, with the root of the image as ``/``.

        Args:
            path: Names.
            entry: The entry that needs the path, for the errors.
            implied: What a missing directory is made with; None to make none.

        Returns:
            None where a directory is missing and none is made.
        """
        make = None if implied is None else self._implied_by(entry, implied)
        way = Way(self._tree, make, length_limit=self._limits.path)
        try:
            for directory in way.go(path):
                if len(way.stack) > self._limits.path // 2:
                    raise TooLarge(f"it lies below {len(way.stack)} directories", entry.name)
                is_lower = directory not in self._upper_directories or directory in self._cleared
                if implied is not None and is_lower:
                    self._passed.add(directory)
        except Lost as lost:
            if implied is None and isinstance(lost, NoDirectory):
                return None
            raise BadArchive(str(lost), entry.name) from lost
        return way.end

    def _implied_by(self, entry: Entry, implied: Metadata) -> MakeDirectory:
        def make(directory: int, name: bytes) -> int:
            _check_length(name, entry)
            made = self._tree.add_directory(directory, name, implied)
            self._upper_directories.add(made)
            self._remember(directory, name)
            return made

        return make


class _EntryContent:
    """The content of a regular file, still in the archive."""

    __slots__ = ("_archive", "pieces", "segments", "size")

    def __init__(self, entry: Entry, archive: Archive) -> None:
        self.size = entry.size
        self.segments = entry.segments
        self.pieces = archive.pieces
        self._archive = archive

    def whole(self) -> memoryview | None:
        size = self.size
        if size and self.segments != ((0, size),):
            return None
        return self._archive.whole(size)


def _key(directory: int, name: bytes) -> bytes:
    return directory.to_bytes(8) + name


def _is_aufs_metadata(path: list[bytes], name: bytes, entry: Entry) -> bool:
    """Whether an entry is metadata of aufs, or lies in it."""
    for part in path:
        if part.startswith(_AUFS):
            return True
        if part.startswith(_WHITEOUT):
            raise BadArchive(
                f"the whiteout {quoted(part)} in its path is not a directory", entry.name
            )
    return name.startswith(_AUFS) and name != _OPAQUE


def _check_length(name: bytes, entry: Entry) -> None:
    if len(name) > _NAME_LIMIT:
        raise TooLarge(
            f"a name of {len(name)} bytes; the limit of ext4 is {_NAME_LIMIT}", entry.name
        )


def _clean(name: bytes) -> list[bytes]:
    """The names of a path, with ``..`` resolved, which stops at the root."""
    path: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del path[-1:]
        elif part and part != b".":
            path.append(part)
    return path


def _symlink_target(entry: Entry) -> bytes:
    if not entry.link:
        raise BadArchive("a symlink with an empty target", entry.name)
    if len(entry.link) > _TARGET_LIMIT:
        raise TooLarge(
            f"a symlink target of {len(entry.link)} bytes; the limit of Linux is {_TARGET_LIMIT}",
            entry.name,
        )
    return entry.link


def _check_device(entry: Entry) -> None:
    if not (0 <= entry.major < _MAJOR_LIMIT and 0 <= entry.minor < _MINOR_LIMIT):
        raise BadArchive(f"invalid device number {entry.major}:{entry.minor}", entry.name)
