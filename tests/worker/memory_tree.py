# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree in memory that keeps names and forgets content, for trying many layers quickly."""

from virtlayer.worker.tree import DIRECTORY, FIFO, REGULAR, SYMLINK, Child, Content, Metadata


class MemoryTree:
    """See ``virtlayer.worker.tree.Tree``."""

    root = 2

    def __init__(self) -> None:
        self._last = self.root
        self._directories: dict[int, dict[bytes, Child]] = {self.root: {}}
        self._targets: dict[int, bytes] = {}

    def find(self, directory: int, name: bytes) -> Child | None:
        return self._directories[directory].get(name)

    def names(self, directory: int) -> list[bytes]:
        return list(self._directories[directory])

    def target(self, symlink: int) -> bytes:
        return self._targets[symlink]

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        self.set_directory_metadata(directory, metadata)
        number = self._add(directory, name, DIRECTORY)
        self._directories[number] = {}
        return number

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        self.set_directory_metadata(directory, metadata)
        for offset, length in content.segments:
            assert 0 <= offset <= offset + length <= content.size
            assert sum(map(len, content.pieces(length))) == length
        self._add(directory, name, REGULAR)

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        assert 0 < len(target) < 4096
        assert b"\0" not in target
        self._targets[self._add(directory, name, SYMLINK)] = target
        self.set_directory_metadata(directory, metadata)

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        assert 0 <= major < 4096 or kind == FIFO
        assert 0 <= minor < 1 << 20 or kind == FIFO
        self.set_directory_metadata(directory, metadata)
        self._add(directory, name, kind)

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        assert child.kind != DIRECTORY
        assert name not in self._directories[directory]
        self._directories[directory][name] = child

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        assert directory in self._directories
        assert 0 <= metadata.mode <= 0o7777
        assert 0 <= metadata.uid < 2**32 - 1
        assert 0 <= metadata.gid < 2**32 - 1
        assert all(name and b"\0" not in name for name in metadata.attributes)

    def remove(self, directory: int, name: bytes) -> None:
        waiting = [self._directories[directory].pop(name)]
        while waiting:
            child = waiting.pop()
            if child.kind == DIRECTORY:
                waiting += self._directories.pop(child.node).values()

    def _add(self, directory: int, name: bytes, kind: int) -> int:
        assert 0 < len(name) <= 255
        assert name not in (b".", b"..")
        assert b"/" not in name
        assert b"\0" not in name
        assert name not in self._directories[directory]
        self._last += 1
        self._directories[directory][name] = Child(self._last, kind)
        return self._last
