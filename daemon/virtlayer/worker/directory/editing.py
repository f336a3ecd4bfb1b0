# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory of the host with all its layers, opened again for customization."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from virtlayer.protocol.id_ranges import MAPPED_ATTRIBUTES, Owners
from virtlayer.worker.directory.tree import DEVICES, DirectoryTree
from virtlayer.worker.tree import DIRECTORY, REGULAR, SYMLINK, Child, Metadata

_SETS_IDS = stat.S_ISUID | stat.S_ISGID
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class EditableDirectory(DirectoryTree):
    """See ``customize.files.EditableTree``."""

    def metadata(self, node: int) -> Metadata:
        """See ``EditableTree``."""
        if node == self.root or self._places.is_directory(node):
            descriptor = self._places.descriptor(node)
            info, attributes = os.fstat(descriptor), self._attributes.read_all(descriptor)
            mode, mtime = stat.S_IMODE(info.st_mode), info.st_mtime_ns
            if node in self._final:
                mode, mtime, default_acl = self._final[node]
                attributes |= self._attributes.default(default_acl)
            return Metadata(mode, info.st_uid, info.st_gid, mtime, attributes)
        directory, name = self._places.file(node)
        descriptor = self._places.descriptor(directory)
        info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        os.fchdir(descriptor)
        return Metadata(
            stat.S_IMODE(info.st_mode),
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns,
            self._attributes.read_all(name),
        )

    def content(self, file: int, limit: int) -> bytes | None:
        """See ``EditableTree``."""
        directory, name = self._places.file(file)
        descriptor = self._opened(self._places.descriptor(directory), name)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(limit + 1)
        return None if len(content) > limit else content

    def _opened(self, parent: int, name: bytes) -> int:
        try:
            return os.open(name, _READ, dir_fd=parent)
        except PermissionError:
            if not self.squashed:
                raise
        # Root reads any file, and a user can only read own files whose mode allows it.
        mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        os.chmod(name, mode | stat.S_IRUSR, dir_fd=parent, follow_symlinks=False)
        try:
            return os.open(name, _READ, dir_fd=parent)
        finally:
            os.chmod(name, mode, dir_fd=parent, follow_symlinks=False)

    def map_owners(self, owners: Owners) -> None:
        """See ``EditableTree``."""
        assert not self.squashed, "there are no owners to map"
        several_names = set()
        for directory, name, child, info in self._everything():
            if owners.contained and child.kind in DEVICES:
                os.unlink(name, dir_fd=self._places.descriptor(directory))
                self.skipped_devices += 1
                continue
            if child.kind != DIRECTORY and info.st_nlink > 1:
                if child.node in several_names:
                    continue
                several_names.add(child.node)
            self._map(directory, name, child, info, owners)
        root = os.fstat(self._places.descriptor(self.root))
        self._map(self.root, b".", Child(self.root, DIRECTORY), root, owners)

    def _map(
        self, directory: int, name: bytes, child: Child, info: os.stat_result, owners: Owners
    ) -> None:
        descriptor = self._places.descriptor(directory)
        os.fchdir(descriptor)
        attributes = {} if child.kind == SYMLINK else self._attributes.read_all(name)
        mapped = {
            key: owners.attribute(key, value)
            for key, value in attributes.items()
            if key in MAPPED_ATTRIBUTES
        }
        uid, gid = owners.uids(info.st_uid), owners.gids(info.st_gid)
        if (uid, gid) != (info.st_uid, info.st_gid):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            # chown(2) has cleared these bits, also for root.
            if child.kind == REGULAR and info.st_mode & _SETS_IDS:
                self._set_file_mode(directory, name, stat.S_IMODE(info.st_mode))
            self._attributes.set_all(name, mapped)
        elif any(mapped[key] != attributes[key] for key in mapped):
            self._attributes.set_all(name, mapped)
        final = self._final.get(child.node)
        if final is not None and final.default_acl is not None:
            acl = self._attributes.default(final.default_acl)
            [value] = [owners.attribute(key, value) for key, value in acl.items()]
            self._final[child.node] = final._replace(default_acl=value)

    def _set_file_mode(self, directory: int, name: bytes, mode: int) -> None:
        descriptor = os.open(name, _READ, dir_fd=self._places.descriptor(directory))
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def _everything(self) -> Iterator[tuple[int, bytes, Child, os.stat_result]]:
        """Every name in the tree: its directory, the name, its node."""
        waiting = [self.root]
        while waiting:
            directory = waiting.pop()
            for name in self.names(directory):
                child = self.find(directory, name)
                assert child is not None, "nobody else is in here"
                descriptor = self._places.descriptor(directory)
                yield (
                    directory,
                    name,
                    child,
                    os.stat(name, dir_fd=descriptor, follow_symlinks=False),
                )
                if child.kind == DIRECTORY:
                    waiting.append(child.node)
