# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ext4 on an NBD export, as the tree that a layer is applied to.

This module decides what goes where; the writer in C stores it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from types import TracebackType
from typing import TYPE_CHECKING, Self

from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.worker.ext4.ahead import read_paths_ahead
from virtlayer.worker.ext4.attributes import encoded, write_attributes
from virtlayer.worker.ext4.directories import Directories
from virtlayer.worker.ext4.library import Ext4Error, check, ffi, lib
from virtlayer.worker.times import storable_time
from virtlayer.worker.tree import (
    DIRECTORY,
    REGULAR,
    SYMLINK,
    Child,
    Content,
    Metadata,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from virtlayer.worker.ext4._ext4 import Bytes, Node, Space, Writer

ROOT = lib.VL_ROOT
LINK_LIMIT = lib.VL_LINK_LIMIT

assert (lib.VL_REGULAR, lib.VL_SYMLINK) == (REGULAR, SYMLINK)


class Ext4Filesystem:
    """An ext4 that is open for writing; made by ``formatted`` and ``opened``.

    As a context manager it closes the file system at the end. Call ``finish`` before to write
    everything: without it, the file system is incomplete.
    """

    root = ROOT

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._number = ffi.new("uint32_t *")
        self._directories = Directories(writer)

    @classmethod
    def formatted(
        cls, device: socket.socket, size: int, identity: str, deadline: float = QEMU_SECONDS
    ) -> Self:
        """Make a new file system.

        Args:
            device: Connected to an NBD server; taken over.
            size: In bytes.
            identity: Decides the UUID of the file system.
            deadline: Seconds in which the server must make progress.

        Raises:
            Ext4Error: It could not be made.
        """
        writer = ffi.new("struct vl_writer **")
        digest = hashlib.sha256(f"virtlayer ext4 {identity}".encode()).digest()
        assert len(digest) == lib.VL_IDENTITY_SIZE
        check(lib.vl_format(device.detach(), _milliseconds(deadline), size, digest, writer))
        return cls(writer[0])

    @classmethod
    def opened(cls, device: socket.socket, deadline: float = QEMU_SECONDS) -> Self:
        """Open the file system that the export has.

        Args:
            device: Connected to an NBD server; taken over.
            deadline: Seconds in which the server must make progress.

        Raises:
            ForeignFilesystem: It is not one that ``formatted`` has made.
            Ext4Error: There is no ext4, or it cannot be read.
        """
        writer = ffi.new("struct vl_writer **")
        check(lib.vl_open(device.detach(), _milliseconds(deadline), writer))
        return cls(writer[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lib.vl_close(self._writer)

    @property
    def free_bytes(self) -> int:
        """How much can still be stored."""
        return self._space.free_bytes

    @property
    def free_inodes(self) -> int:
        """How many nodes can still be made."""
        return self._space.free_inodes

    @property
    def size(self) -> int:
        """The size of the file system in bytes."""
        return self._space.size

    def finish(self) -> None:
        """Write what is still in memory, and wait until the server has it on its disk.

        Raises:
            Ext4Error: Something could not be written.
        """
        self._directories.write_all()
        check(lib.vl_flush(self._writer))

    def leave(self) -> None:
        """End the connection, after ``finish``; nothing else can be done before ``go_on``.

        Raises:
            Ext4Error: The server failed.
        """
        check(lib.vl_leave(self._writer))

    def go_on(self, device: socket.socket) -> None:
        """Continue on another volume, as if its file system had been opened, but without reading.

        Args:
            device: Connected to the NBD server of a volume that reads the same as the one that was
                left; taken over.

        Raises:
            Ext4Error: The server failed, or the volume is of another size.
        """
        check(lib.vl_go_on(self._writer, device.detach()))
        self._directories = Directories(self._writer)

    # ---- reading ----

    def expect(self, paths: Iterable[bytes]) -> None:
        """Read the nodes on paths that will be asked for soon."""
        # What cannot be read is an error for the caller that asks for it.
        with contextlib.suppress(Ext4Error):
            read_paths_ahead(self._writer, self._directories, paths)

    def find(self, directory: int, name: bytes) -> Child | None:
        """See ``Tree``."""
        return self._directories.get(directory).find(name)

    def names(self, directory: int) -> list[bytes]:
        """See ``Tree``."""
        return list(self._directories.get(directory).entries)

    def target(self, symlink: int) -> bytes:
        """See ``Tree``."""
        return self._content(symlink, lib.VL_BLOCK_SIZE)

    def content(self, file: int, limit: int) -> bytes | None:
        """See ``ReadableTree``."""
        found = ffi.new("struct vl_node *")
        check(lib.vl_read_node(self._writer, file, found))
        return None if found.size > limit else self._content(file, found.size)

    # ---- adding ----

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        """See ``Tree``."""
        number = self._add(DIRECTORY, metadata)
        self._directories.create(number, directory)
        self._directories.get(directory).add(name, number, DIRECTORY)
        return number

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        """See ``Tree``."""
        whole = content.whole()
        if whole is not None:
            number = self._add(REGULAR, metadata, ffi.from_buffer(whole), len(whole))
        else:
            number = self._add_in_pieces(metadata, content)
        self._directories.get(directory).add(name, number, REGULAR)

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        """See ``Tree``."""
        number = self._add(SYMLINK, metadata, ffi.from_buffer(target), len(target))
        self._directories.get(directory).add(name, number, SYMLINK)

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        """See ``Tree``."""
        node = _new_node(kind, metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
        node.major, node.minor = major, minor
        number = self._add_node(node, metadata, ffi.NULL, 0)
        self._directories.get(directory).add(name, number, kind)

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        """See ``Tree``.

        Raises:
            TooManyLinks: The file has as many names as ext4 can count.
        """
        check(lib.vl_add_link(self._writer, child.node))
        self._directories.get(directory).add(name, child.node, child.kind)

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        """See ``Tree``."""
        node = _new_node(DIRECTORY, metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
        node.number = directory
        with encoded(metadata.attributes) as attributes:
            count = len(metadata.attributes)
            check(lib.vl_set_metadata(self._writer, node, attributes, count))

    # ---- removing ----

    def remove(self, directory: int, name: bytes) -> None:
        """See ``Tree``."""
        parent = self._directories.get(directory)
        child = parent.find(name)
        assert child is not None, "only an existing entry is removed"
        parent.remove(name)
        waiting = [child]
        while waiting:
            node, kind = waiting.pop()
            if kind == DIRECTORY:
                below = self._directories.get(node)
                waiting.extend(Child(packed >> 3, packed & 7) for packed in below.entries.values())
                self._directories.forget(node)
            check(lib.vl_remove_link(self._writer, node, kind == DIRECTORY))

    # ---- nodes ----

    def _add(
        self, kind: int, metadata: Metadata, content: Bytes = ffi.NULL, length: int = 0
    ) -> int:
        mode, uid, gid, mtime, _ = metadata
        return self._add_node(_common_node(kind, mode, uid, gid, mtime), metadata, content, length)

    def _add_node(self, node: Node, metadata: Metadata, content: Bytes, length: int) -> int:
        check(lib.vl_add_node(self._writer, node, content, length, self._number))
        number = self._number[0]
        if metadata.attributes:
            write_attributes(self._writer, number, metadata.attributes)
        return number

    def _add_in_pieces(self, metadata: Metadata, content: Content) -> int:
        mode, uid, gid, mtime, attributes = metadata
        node = _common_node(REGULAR, mode, uid, gid, mtime)
        segments = list(content.segments)
        array = ffi.new("struct vl_segment[]", segments)
        check(lib.vl_add_file(self._writer, node, content.size, array, len(segments), self._number))
        number = self._number[0]
        if attributes:
            write_attributes(self._writer, number, attributes)
        for _, length in segments:
            for piece in content.pieces(length):
                check(lib.vl_write_file(self._writer, ffi.from_buffer(piece), len(piece)))
        return number

    def _content(self, node: int, room: int) -> bytes:
        """The content of a file, or the target of a symlink.

        Raises:
            Ext4Error: It is neither, or longer than there is room for.
        """
        content = ffi.new("char[]", room)
        length = ffi.new("size_t *")
        check(lib.vl_read_content(self._writer, node, content, room, length))
        return bytes(ffi.buffer(content, length[0]))

    @property
    def _space(self) -> Space:
        space = ffi.new("struct vl_space *")
        lib.vl_measure(self._writer, space)
        return space


def _new_node(kind: int, mode: int, uid: int, gid: int, mtime: int) -> Node:
    seconds, nanoseconds = storable_time(mtime)
    return ffi.new(
        "struct vl_node *",
        {
            "kind": kind,
            "mode": mode,
            "uid": uid,
            "gid": gid,
            "seconds": seconds,
            "nanoseconds": nanoseconds,
        },
    )


@functools.lru_cache(maxsize=1024)
def _common_node(kind: int, mode: int, uid: int, gid: int, mtime: int) -> Node:
    """A node that is not changed. Most files of a package have one owner, mode and time."""
    return _new_node(kind, mode, uid, gid, mtime)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
