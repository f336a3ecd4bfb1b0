# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ext4 on an NBD export, as the tree that a layer is applied to."""

from __future__ import annotations

import contextlib
import functools
import stat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.worker.ext4.ahead import read_paths_ahead
from virtlayer.worker.ext4.attributes import write_attributes
from virtlayer.worker.ext4.blocks import (
    BLOCK_SIZE,
    EMPTY_TREE,
    SECTORS_PER_BLOCK,
    BlockAllocator,
    Run,
    inline_extents,
    insert_extents,
    runs_for,
)
from virtlayer.worker.ext4.content import put, write_content
from virtlayer.worker.ext4.directories import Directories
from virtlayer.worker.ext4.format import FIXED_TIME, format_filesystem
from virtlayer.worker.ext4.inode import EXTENTS_FLAG, encode_device, encode_inode
from virtlayer.worker.ext4.inodes import Inodes
from virtlayer.worker.ext4.library import Ext4Error, check, ffi, lib
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

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

ROOT = 2
LINK_LIMIT = 65000
_FAST_SYMLINK = 60
_FILE_TYPES = {
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
    SOCKET: stat.S_IFSOCK,
}


class TooManyLinks(Exception):
    """A file has as many names as ext4 can count."""


class Ext4Filesystem:
    """An ext4 that is open for writing.

    As a context manager it lets the file system go at the end. What should stay is written by
    ``finish`` before: without it, nothing that was done is complete.
    """

    root = ROOT

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem
        self._fs.now = FIXED_TIME
        # The kernel does not keep the backups of the superblock up to date either.
        self._fs.flags |= lib.EXT2_FLAG_MASTER_SB_ONLY
        self._io = filesystem.io
        self._begin()

    def _begin(self) -> None:
        """Know nothing but what the file system says: what is done next depends on that alone."""
        filesystem = self._fs
        room = ffi.new("struct vl_room *")
        self._blocks = BlockAllocator(filesystem, room)
        self._inodes = Inodes(filesystem, room)
        self._directories = Directories(filesystem, self._inodes, self._blocks, room)

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
        with device:
            filesystem = format_filesystem(_device_name(device, deadline), size, identity)
        # The backups of the superblock are written once, here.
        check_or_free(filesystem, lib.ext2fs_flush2(filesystem, lib.EXT2_FLAG_FLUSH_NO_SYNC))
        made = cls(filesystem)
        made.set_directory_metadata(ROOT, Metadata(0o755, 0, 0, 0))
        return made

    @classmethod
    def opened(cls, device: socket.socket, deadline: float = QEMU_SECONDS) -> Self:
        """Open the file system that the export has.

        Args:
            device: Connected to an NBD server; taken over.
            deadline: Seconds in which the server must make progress.

        Raises:
            Ext4Error: There is no ext4, or it cannot be read.
        """
        result = ffi.new("ext2_filsys *")
        flags = lib.EXT2_FLAG_RW | lib.EXT2_FLAG_64BITS | lib.EXT2_FLAG_EXCLUSIVE
        with device:
            name = _device_name(device, deadline)
            check(lib.ext2fs_open(name, flags, 0, 0, lib.vl_nbd_manager, result))
        check_or_free(result[0], lib.vl_read_bitmaps_ahead(result[0]))
        check_or_free(result[0], lib.ext2fs_read_bitmaps(result[0]))
        return cls(result[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lib.ext2fs_free(self._fs)

    @property
    def free_bytes(self) -> int:
        """How much can still be stored."""
        return int(lib.ext2fs_free_blocks_count(self._fs.super)) * BLOCK_SIZE

    @property
    def free_inodes(self) -> int:
        """How many nodes can still be made."""
        return int(self._fs.super.s_free_inodes_count)

    @property
    def size(self) -> int:
        """The size of the file system in bytes."""
        return int(lib.ext2fs_blocks_count(self._fs.super)) * BLOCK_SIZE

    def finish(self) -> None:
        """Write what is still in memory, and wait until the server has it on its disk.

        Raises:
            Ext4Error: Something could not be written.
        """
        self._directories.write_all()
        # At once: nobody uses a volume that has not been finished, in whatever order it is written.
        check(lib.ext2fs_flush2(self._fs, lib.EXT2_FLAG_FLUSH_NO_SYNC))
        check(lib.io_channel_flush(self._io))

    def leave(self) -> None:
        """Let the volume go, after ``finish``; nothing else can be done before ``go_on``.

        Raises:
            Ext4Error: The server failed.
        """
        check(lib.vl_nbd_leave(self._io))

    def go_on(self, device: socket.socket) -> None:
        """Continue on another volume, as if its file system had been opened, but without reading.

        Args:
            device: Connected to the NBD server of a volume that reads the same as the one that was
                left; taken over.

        Raises:
            Ext4Error: The server failed, or the volume is of another size.
        """
        check(lib.vl_nbd_go_on(self._io, device.detach()))
        self._begin()

    # ---- reading ----

    def expect(self, paths: Iterable[bytes]) -> None:
        """Hear which paths will be asked for soon."""
        # What cannot be read is told to those who ask for it, who know why they do.
        with contextlib.suppress(Ext4Error):
            read_paths_ahead(self._fs, ROOT, self._directories, paths)

    def find(self, directory: int, name: bytes) -> Child | None:
        """See ``Tree``."""
        return self._directories.get(directory).find(name)

    def names(self, directory: int) -> list[bytes]:
        """See ``Tree``."""
        return list(self._directories.get(directory).entries)

    def target(self, symlink: int) -> bytes:
        """See ``Tree``."""
        inode = self._inodes.read(symlink)
        if not self._inodes.has_blocks(inode):
            return inode.block[: inode.size]
        block = ffi.new("char[]", BLOCK_SIZE)
        check(
            lib.io_channel_read_blk64(self._io, self._inodes.block_of(symlink, inode, 0), 1, block)
        )
        return bytes(ffi.buffer(block, inode.size))

    # ---- adding ----

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        """See ``Tree``."""
        number = self._inodes.add(
            encode_inode(metadata, stat.S_IFDIR, links=2, flags=EXTENTS_FLAG, block=EMPTY_TREE),
            metadata.attributes,
            is_directory=True,
        )
        self._directories.create(number, directory)
        self._directories.get(directory).add(name, number, DIRECTORY)
        return number

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        """See ``Tree``."""
        whole = content.whole() if self._blocks.are_set_aside(content.size) else None
        if whole is not None:
            inode = _empty_file(metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
            number = self._inodes.add_file(inode, metadata.attributes, whole)
        else:
            number = self._inodes.take()
            segments = list(content.segments)
            runs = runs_for(segments, self._blocks)
            self._write_file_inode(number, metadata, content.size, runs)
            write_content(self._io, content, segments, runs)
        self._directories.get(directory).add(name, number, REGULAR)

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        """See ``Tree``."""
        if len(target) < _FAST_SYMLINK:
            inode = encode_inode(metadata, stat.S_IFLNK, size=len(target), block=target)
        else:
            ((start, _),) = self._blocks.take(1)
            put(self._io, start * BLOCK_SIZE, memoryview(target.ljust(BLOCK_SIZE, b"\0")))
            inode = encode_inode(
                metadata,
                stat.S_IFLNK,
                size=len(target),
                sectors=SECTORS_PER_BLOCK,
                flags=EXTENTS_FLAG,
                block=inline_extents([Run(0, start, 1)]) or b"",
            )
        number = self._inodes.add(inode, metadata.attributes)
        self._directories.get(directory).add(name, number, SYMLINK)

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        """See ``Tree``."""
        block = encode_device(major, minor) if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else b""
        inode = encode_inode(metadata, _FILE_TYPES[kind], block=block)
        number = self._inodes.add(inode, metadata.attributes)
        self._directories.get(directory).add(name, number, kind)

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        """See ``Tree``.

        Raises:
            TooManyLinks: ext4 counts no further.
        """
        inode = self._inodes.read(child.node)
        if inode.links >= LINK_LIMIT:
            raise TooManyLinks
        inode.links += 1
        self._inodes.store(child.node, inode)
        self._directories.get(directory).add(name, child.node, child.kind)

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        """See ``Tree``."""
        inode = self._inodes.read(directory)
        inode.set_metadata(metadata)
        # libext2fs would keep the block, if only to write into it that there is nothing.
        self._inodes.free_attributes(directory, inode)
        self._inodes.store(directory, inode)
        write_attributes(self._fs, directory, metadata.attributes)

    # ---- removing ----

    def remove(self, directory: int, name: bytes) -> None:
        """See ``Tree``."""
        parent = self._directories.get(directory)
        child = parent.find(name)
        assert child is not None, "only what is there is removed"
        parent.remove(name)
        waiting = [child]
        while waiting:
            node, kind = waiting.pop()
            if kind == DIRECTORY:
                below = self._directories.get(node)
                waiting.extend(Child(packed >> 3, packed & 7) for packed in below.entries.values())
                self._directories.forget(node)
            self._inodes.release(node, is_directory=kind == DIRECTORY)

    # ---- content ----

    def _write_file_inode(
        self, number: int, metadata: Metadata, size: int, runs: list[Run]
    ) -> None:
        tree = inline_extents(runs)
        inode = bytearray(
            encode_inode(
                metadata,
                stat.S_IFREG,
                size=size,
                sectors=sum(run.length for run in runs) * SECTORS_PER_BLOCK,
                flags=EXTENTS_FLAG,
                block=EMPTY_TREE if tree is None else tree,
            )
        )
        if tree is None:
            pointer = ffi.from_buffer("struct ext2_inode *", inode)
            insert_extents(self._fs, number, pointer, runs)
        self._inodes.write(number, bytes(inode), metadata.attributes)


@functools.lru_cache(maxsize=1024)
def _empty_file(mode: int, uid: int, gid: int, mtime: int) -> bytes:
    """The inode of an empty file. Most files of a package have one owner, mode and time."""
    metadata = Metadata(mode, uid, gid, mtime)
    return encode_inode(metadata, stat.S_IFREG, flags=EXTENTS_FLAG, block=EMPTY_TREE)


def _device_name(device: socket.socket, deadline: float) -> bytes:
    return b"%d,%d" % (device.fileno(), deadline * 1000)


def check_or_free(filesystem: Any, code: int) -> None:
    """Like ``check``, and let the file system go before raising."""
    if code:
        lib.ext2fs_free(filesystem)
        check(code)
