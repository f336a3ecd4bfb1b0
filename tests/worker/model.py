# SPDX-License-Identifier: LGPL-2.1-or-later
"""A simple model of layers: a tree of objects in memory.

Written from the OCI image-spec ("layer.md") and docs/layers.md, recursively and without regard to
speed, so that it shares no idea with the code that it is compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.trees import Node

_FOLLOWED = 40


class Malformed(Exception):
    """The entry is invalid."""


@dataclass(eq=False, slots=True)
class File:
    """A node: whatever a name can lead to."""

    kind: str
    mode: int = 0o755
    uid: int = 0
    mtime: int = 0
    data: bytes = b""
    """Content of a file, target of a symlink."""
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    names: dict[str, Name] = field(default_factory=dict)
    """The entries of a directory."""


@dataclass(eq=False, slots=True)
class Name:
    """A name in a directory."""

    file: File
    layer: int
    """The last layer that had an entry for it, or needed it for one."""


@dataclass(frozen=True, slots=True)
class Op:
    """One entry of an archive."""

    kind: str
    """The letter that ls(1) has for it; h for a hard link, w for a whiteout, o for opaque."""
    path: str
    target: str = ""
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    mtime: int = 0
    attributes: tuple[tuple[bytes, bytes], ...] = ()


class Model:
    """An image while its layers are applied."""

    def __init__(self) -> None:
        self.root = File("d")
        self.layer = 0

    def apply(self, op: Op) -> None:
        """Apply an entry.

        Raises:
            Malformed: It is invalid; nothing is changed then.
        """
        parts = _lexical(op.path)
        match op.kind:
            case "o":
                directory = self._directory(parts)
                if directory is not None:
                    self._prune_all(directory)
            case "w":
                directory = self._directory(parts[:-1])
                if directory is not None and parts[-1] in directory.names:
                    name = directory.names[parts[-1]]
                    if not self._survives(name):
                        del directory.names[parts[-1]]
            case "h":
                self._link(parts, op)
            case _ if not parts:
                self.root.mode, self.root.uid, self.root.mtime = op.mode, op.uid, op.mtime
                self.root.attributes = op.attributes
            case _:
                self._put(parts, op)

    def _put(self, parts: list[str], op: Op) -> None:
        fresh = File(op.kind, op.mode, op.uid, op.mtime, op.data, op.attributes)
        parent = self._made(parts[:-1], op)
        old = parent.names.get(parts[-1])
        if old is not None and old.file.kind == op.kind == "d":
            fresh.names = old.file.names
        if op.kind == "l":
            fresh.data, fresh.mode = op.target.encode(), 0o777
        parent.names[parts[-1]] = Name(fresh, self.layer)

    def _link(self, parts: list[str], op: Op) -> None:
        target = self._target(op)
        self._made(parts[:-1], op, really=False)
        before = self.snapshot()
        parent = self._made(parts[:-1], op)
        old = parent.names.get(parts[-1])
        if old is not None and old.file is not target:
            del parent.names[parts[-1]]
            try:
                target = self._target(op)
            except Malformed:
                self.root = before
                raise
        parent.names[parts[-1]] = Name(target, self.layer)

    def _target(self, op: Op) -> File:
        *above, last = _lexical(op.target) or [""]
        directory = self._directory(above)
        name = None if directory is None else directory.names.get(last)
        if name is None or name.file.kind == "d":
            raise Malformed
        return name.file

    # ---- whiteouts ----

    def _survives(self, name: Name) -> bool:
        """Take away what lower layers have from here on; whether something is left."""
        if name.file.kind == "d":
            left = self._prune_all(name.file)
            return left or name.layer == self.layer
        return name.layer == self.layer

    def _prune_all(self, directory: File) -> bool:
        directory.names = {
            key: name for key, name in directory.names.items() if self._survives(name)
        }
        return bool(directory.names)

    # ---- paths ----

    def _directory(self, parts: list[str]) -> File | None:
        """The directory of a path, its symlinks followed inside the image; None without one."""
        return self._walk(parts, None)

    def _made(self, parts: list[str], op: Op, *, really: bool = True) -> File:
        if really:
            self._made(parts, op, really=False)
        found = self._walk(parts, op, really=really)
        assert found is not None
        return found

    def _walk(self, parts: list[str], op: Op | None, *, really: bool = True) -> File | None:
        stack, waiting, followed = [self.root], list(parts), 0
        while waiting:
            part = waiting.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                stack = stack[:-1] or [self.root]
                continue
            name = stack[-1].names.get(part)
            if name is None:
                if op is None:
                    return None
                name = Name(File("d", mtime=op.mtime), self.layer)
                if really:
                    stack[-1].names[part] = name
            if name.file.kind == "l":
                followed += 1
                if followed > _FOLLOWED:
                    raise Malformed
                target = name.file.data.decode()
                if target.startswith("/"):
                    stack = [self.root]
                waiting = target.split("/") + waiting
            elif name.file.kind == "d":
                stack.append(name.file)
            elif op is None:
                return None
            else:
                raise Malformed
        return stack[-1]

    # ---- results ----

    def snapshot(self) -> File:
        """A copy of everything, with files that have several names still the same."""
        copies: dict[int, File] = {}

        def copy(file: File) -> File:
            if id(file) not in copies:
                made = copies[id(file)] = File(
                    file.kind, file.mode, file.uid, file.mtime, file.data, file.attributes
                )
                made.names = {
                    key: Name(copy(name.file), name.layer) for key, name in file.names.items()
                }
            return copies[id(file)]

        return copy(self.root)

    def tree(self) -> dict[bytes, Node]:
        """The image as ``tests.support.trees`` shows one."""
        places: dict[int, list[str]] = {}
        for path, file in _all(self.root, ""):
            places.setdefault(id(file), []).append(path)
        return {path.encode(): _node(file, places[id(file)]) for path, file in _all(self.root, "")}


def _all(file: File, path: str) -> Iterator[tuple[str, File]]:
    yield path, file
    for key in sorted(file.names):
        yield from _all(file.names[key].file, f"{path}/{key}" if path else key)


def _node(file: File, places: list[str]) -> Node:
    contents = {"-": hashlib.sha256(file.data).hexdigest(), "l": file.data.decode(errors="replace")}
    return Node(
        kind=file.kind,
        mode=file.mode,
        uid=file.uid,
        gid=0,
        mtime=file.mtime * 10**9,
        size=len(file.data) if file.kind == "-" else 0,
        content=contents.get(file.kind, ""),
        attributes=file.attributes,
        first_name=places[0].encode() if len(places) > 1 else b"",
    )


def _lexical(path: str) -> list[str]:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts
