# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory of the host as the tree that a layer is applied to.

While it is worked on, every directory in it can be entered and written by its owner alone, and
changes its time with every new name; ``finish`` sets their final metadata. Files have theirs from
the start.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from virtlayer.worker.directory.attributes import DEFAULT_ACL, Attributes
from virtlayer.worker.directory.node_table import Places
from virtlayer.worker.times import nanoseconds_of, storable_time
from virtlayer.worker.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    REGULAR,
    SOCKET,
    SYMLINK,
    Child,
    Content,
    Metadata,
)

_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
    stat.S_IFLNK: SYMLINK,
}
_TYPES = {kind: file_type for file_type, kind in _KINDS.items()}
DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WORKABLE = 0o700
_SETS_IDS = stat.S_ISUID | stat.S_ISGID
_FIRST_ABSENT = 1 << 64
"""Above every number that the kernel gives."""


class _Final(NamedTuple):
    """The final metadata of a directory."""

    mode: int
    mtime: int
    default_acl: bytes | None


class DirectoryTree:
    """See ``virtlayer.worker.tree.Tree``.

    Args:
        root: A descriptor of the directory; stays the caller's.
        squashed: Whether everything belongs to this process's user. Then there are no devices, and
            no program runs with its owner's rights: they would be that user's.
    """

    def __init__(self, root: int, *, squashed: bool) -> None:
        self.squashed = squashed
        self.skipped_devices = 0
        self._attributes = Attributes(squashed=squashed)
        self._places = Places(root, self._make_workable)
        self._final: dict[int, _Final] = {}
        # Devices that could not be made: links to them and their whiteouts are valid all the same.
        self._absent: dict[int, dict[bytes, Child]] = {}
        self._last_absent = _FIRST_ABSENT

    @property
    def root(self) -> int:
        """See ``Tree``."""
        return self._places.root

    @property
    def skipped_attributes(self) -> int:
        """How many extended attributes were left out."""
        return self._attributes.skipped

    def begin(self) -> None:
        """Set the metadata of an empty root before the first layer; remove inherited ones."""
        os.fchmod(self._places.descriptor(self.root), _WORKABLE)
        self.set_directory_metadata(self.root, Metadata(0o755, 0, 0, 0))

    def finish(self) -> None:
        """Give the directories that were worked on their permissions and times."""
        # Lower directories first: afterwards, the mode of their parents may deny access.
        for directory in sorted(self._final, key=self._places.depth, reverse=True):
            final = self._final[directory]
            descriptor = self._places.descriptor(directory)
            os.fchmod(descriptor, final.mode)
            if final.default_acl is not None:
                self._attributes.set_all(descriptor, {DEFAULT_ACL: final.default_acl})
            os.utime(descriptor, ns=(final.mtime, final.mtime))
        self._final.clear()

    # ---- reading ----

    def find(self, directory: int, name: bytes) -> Child | None:
        """See ``Tree``."""
        try:
            info = os.stat(name, dir_fd=self._places.descriptor(directory), follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return self._absent.get(directory, {}).get(name)
            raise
        child = Child(info.st_ino, _KINDS[stat.S_IFMT(info.st_mode)])
        self._places.note(child.node, directory, name, is_directory=child.kind == DIRECTORY)
        return child

    def names(self, directory: int) -> list[bytes]:
        """See ``Tree``."""
        there = os.listdir(self._places.descriptor(directory))  # noqa: PTH208 -- a descriptor
        return [*map(os.fsencode, there), *self._absent.get(directory, ())]

    def target(self, symlink: int) -> bytes:
        """See ``Tree``."""
        directory, name = self._places.file(symlink)
        return os.readlink(name, dir_fd=self._places.descriptor(directory))

    # ---- adding ----

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        """See ``Tree``."""
        os.mkdir(name, _WORKABLE, dir_fd=self._changed(directory))
        child = self.find(directory, name)
        assert child is not None, "nobody else is in here"
        self.set_directory_metadata(child.node, metadata)
        return child.node

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        """See ``Tree``."""
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=self._changed(directory))
        try:
            _write(descriptor, content)
            # In this order: a change of the owner clears capabilities and setuid bits.
            if not self.squashed:
                os.fchown(descriptor, metadata.uid, metadata.gid)
            self._attributes.set_all(descriptor, metadata.attributes)
            os.fchmod(descriptor, self._file_mode(metadata.mode))
            _set_time(descriptor, metadata.mtime)
        finally:
            os.close(descriptor)

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        """See ``Tree``."""
        os.symlink(target, name, dir_fd=self._changed(directory))
        self._dress(directory, name, metadata)

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        """See ``Tree``."""
        parent = self._changed(directory)
        device = os.makedev(major, minor) if kind in DEVICES else 0
        try:
            if self.squashed and kind in DEVICES:
                raise PermissionError
            mode = _TYPES[kind] | self._file_mode(metadata.mode)
            os.mknod(name, mode, device, dir_fd=parent)  # the process has no umask
        except PermissionError:
            self.skipped_devices += 1
            self._last_absent += 1
            self._absent.setdefault(directory, {})[name] = Child(self._last_absent, kind)
            return
        self._dress(directory, name, metadata)

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        """See ``Tree``."""
        if child.node >= _FIRST_ABSENT:
            self._absent.setdefault(directory, {})[name] = child
            return
        target_directory, target = self._places.file(child.node)
        os.link(
            target,
            name,
            src_dir_fd=self._places.descriptor(target_directory),
            dst_dir_fd=self._changed(directory),
            follow_symlinks=False,
        )

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        """See ``Tree``."""
        descriptor = self._places.descriptor(directory)
        if not self.squashed:
            os.fchown(descriptor, metadata.uid, metadata.gid)
        attributes = dict(metadata.attributes)
        default_acl = attributes.pop(DEFAULT_ACL, None)
        self._attributes.replace_all(descriptor, attributes)
        self._final[directory] = _Final(metadata.mode, _storable(metadata.mtime), default_acl)

    # ---- removing ----

    def remove(self, directory: int, name: bytes) -> None:
        """See ``Tree``."""
        parent = self._changed(directory)
        child = self.find(directory, name)
        assert child is not None, "only an existing entry is removed"
        if child.kind == DIRECTORY:
            self._remove_directory(child.node)
        elif child.node >= _FIRST_ABSENT:
            del self._absent[directory][name]
        else:
            os.unlink(name, dir_fd=parent)

    def _remove_directory(self, directory: int) -> None:
        doomed = [directory]
        for node in doomed:  # which grows meanwhile
            self._absent.pop(node, None)
            for name in self.names(node):
                child = self.find(node, name)
                assert child is not None, "nobody else is in here"
                if child.kind == DIRECTORY:
                    doomed.append(child.node)
                else:
                    os.unlink(name, dir_fd=self._places.descriptor(node))
        for node in reversed(doomed):
            parent, name = self._places.directory(node)
            os.rmdir(name, dir_fd=self._places.descriptor(parent))
            self._final.pop(node, None)
            self._places.forget(node)

    # ---- directories while they are worked on ----

    def _changed(self, directory: int) -> int:
        """The descriptor of a directory whose names are about to change."""
        descriptor = self._places.descriptor(directory)
        if directory not in self._final:
            info = os.fstat(descriptor)
            default_acl = self._attributes.take_default_acl(descriptor)
            self._final[directory] = _Final(
                stat.S_IMODE(info.st_mode), info.st_mtime_ns, default_acl
            )
            if self.squashed:
                os.fchmod(descriptor, _WORKABLE)
        return descriptor

    def _make_workable(self, directory: int, parent: int, name: bytes) -> None:
        """Make a user's own directory accessible if its mode denies that."""
        if not self.squashed or directory in self._final:
            return
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode = stat.S_IMODE(info.st_mode)
        if mode & _WORKABLE != _WORKABLE:
            self._final[directory] = _Final(mode, info.st_mtime_ns, None)
            os.chmod(name, _WORKABLE, dir_fd=parent, follow_symlinks=False)

    def _file_mode(self, mode: int) -> int:
        return mode & ~_SETS_IDS if self.squashed else mode

    def _dress(self, directory: int, name: bytes, metadata: Metadata) -> None:
        """Set all metadata but the permissions of a node that cannot be opened."""
        descriptor = self._places.descriptor(directory)
        if not self.squashed:
            os.chown(name, metadata.uid, metadata.gid, dir_fd=descriptor, follow_symlinks=False)
        if metadata.attributes:
            os.fchdir(descriptor)
            self._attributes.set_all(name, metadata.attributes)
        time = _storable(metadata.mtime)
        os.utime(name, ns=(time, time), dir_fd=descriptor, follow_symlinks=False)


def _write(descriptor: int, content: Content) -> None:
    end = 0
    for offset, length in content.segments:
        if offset != end:
            os.lseek(descriptor, offset, os.SEEK_SET)
        for piece in content.pieces(length):
            rest = piece
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        end = offset + length
    if end != content.size:
        os.ftruncate(descriptor, content.size)


def _set_time(descriptor: int, mtime: int) -> None:
    time = _storable(mtime)
    os.utime(descriptor, ns=(time, time))


def _storable(mtime: int) -> int:
    """The time as ext4 stores it, so that a directory and a disk agree."""
    return nanoseconds_of(*storable_time(mtime))
