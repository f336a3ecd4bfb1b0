# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ext4 on an NBD export, as the tree that a layer is applied to."""

from __future__ import annotations

import stat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from virtlayer.layer.ext4.attributes import write_attributes
from virtlayer.layer.ext4.blocks import (
    BLOCK_SIZE,
    SECTORS_PER_BLOCK,
    BlockAllocator,
    Run,
    inline_extents,
    insert_extents,
    runs_for,
)
from virtlayer.layer.ext4.directory import Directory, build_blocks, parse_blocks
from virtlayer.layer.ext4.format import FIXED_TIME, format_filesystem
from virtlayer.layer.ext4.inode import (
    EXTENTS_FLAG,
    INODE_SIZE,
    InodeFields,
    encode_device,
    encode_inode,
)
from virtlayer.layer.ext4.library import FilesystemFull, check, ffi, lib
from virtlayer.layer.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    SOCKET,
    SYMLINK,
    Child,
    Content,
    Metadata,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

ROOT = 2
LINK_LIMIT = 65000
SYMLINK_LIMIT = BLOCK_SIZE - 1
_FAST_SYMLINK = 60
_EMPTY_TREE = inline_extents([]) or b""
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
        self._blocks = BlockAllocator(filesystem)
        self._directories: dict[int, Directory] = {}
        self._last_inode = int(filesystem.super.s_first_ino) - 1
        self._number = ffi.new("ext2_ino_t *")
        self._hash = ffi.new("ext2_dirhash_t *")
        self._physical = ffi.new("blk64_t *")

    @classmethod
    def formatted(cls, device: socket.socket, size: int, identity: str) -> Self:
        """Make a new file system.

        Args:
            device: Connected to an NBD server; taken over.
            size: In bytes.
            identity: Decides the UUID of the file system.

        Raises:
            Ext4Error: It could not be made.
        """
        filesystem = format_filesystem(str(device.detach()), size, identity)
        # The backups of the superblock are written once, here.
        check_or_free(filesystem, lib.ext2fs_flush(filesystem))
        made = cls(filesystem)
        made.set_directory_metadata(ROOT, Metadata(0o755, 0, 0, 0))
        return made

    @classmethod
    def opened(cls, device: socket.socket) -> Self:
        """Open the file system that the export has.

        Args:
            device: Connected to an NBD server; taken over.

        Raises:
            Ext4Error: There is no ext4, or it cannot be read.
        """
        result = ffi.new("ext2_filsys *")
        flags = lib.EXT2_FLAG_RW | lib.EXT2_FLAG_64BITS | lib.EXT2_FLAG_EXCLUSIVE
        name = str(device.detach()).encode()
        check(lib.ext2fs_open(name, flags, 0, 0, lib.vl_nbd_manager, result))
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
        for directory in self._directories.values():
            if directory.changed:
                self._write_directory(directory)
        check(lib.ext2fs_flush(self._fs))

    # ---- reading ----

    def find(self, directory: int, name: bytes) -> Child | None:
        """See ``Tree``."""
        return self._directory(directory).find(name)

    def names(self, directory: int) -> list[bytes]:
        """See ``Tree``."""
        return list(self._directory(directory).entries)

    def target(self, symlink: int) -> bytes:
        """See ``Tree``."""
        inode = self._read_inode(symlink)
        if not self._has_blocks(inode):
            return inode.block[: inode.size]
        block = ffi.new("char[]", BLOCK_SIZE)
        check(lib.io_channel_read_blk64(self._io, self._block_of(symlink, inode, 0), 1, block))
        return bytes(ffi.buffer(block, inode.size))

    # ---- adding ----

    def add_directory(self, directory: int, name: bytes, metadata: Metadata) -> int:
        """See ``Tree``."""
        number = self._new_inode(is_directory=True)
        self._write_inode(
            number,
            encode_inode(metadata, stat.S_IFDIR, links=2, flags=EXTENTS_FLAG, block=_EMPTY_TREE),
            metadata,
        )
        made = Directory(number, directory, {})
        made.changed = True
        self._directories[number] = made
        self._directory(directory).add(name, number, DIRECTORY)
        return number

    def add_file(self, directory: int, name: bytes, metadata: Metadata, content: Content) -> None:
        """See ``Tree``."""
        number = self._new_inode()
        segments = list(content.segments)
        runs = runs_for(segments, self._blocks)
        self._write_file_inode(number, metadata, content.size, runs)
        self._write_content(content, segments, runs)
        self._directory(directory).add(name, number, 1)

    def add_symlink(self, directory: int, name: bytes, metadata: Metadata, target: bytes) -> None:
        """See ``Tree``."""
        number = self._new_inode()
        if len(target) < _FAST_SYMLINK:
            inode = encode_inode(metadata, stat.S_IFLNK, size=len(target), block=target)
        else:
            ((start, _),) = self._blocks.take(1)
            self._put(start * BLOCK_SIZE, memoryview(target.ljust(BLOCK_SIZE, b"\0")))
            inode = encode_inode(
                metadata,
                stat.S_IFLNK,
                size=len(target),
                sectors=SECTORS_PER_BLOCK,
                flags=EXTENTS_FLAG,
                block=inline_extents([Run(0, start, 1)]) or b"",
            )
        self._write_inode(number, inode, metadata)
        self._directory(directory).add(name, number, SYMLINK)

    def add_special(
        self, directory: int, name: bytes, metadata: Metadata, kind: int, major: int, minor: int
    ) -> None:
        """See ``Tree``."""
        number = self._new_inode()
        block = encode_device(major, minor) if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else b""
        self._write_inode(number, encode_inode(metadata, _FILE_TYPES[kind], block=block), metadata)
        self._directory(directory).add(name, number, kind)

    def add_link(self, directory: int, name: bytes, child: Child) -> None:
        """See ``Tree``.

        Raises:
            TooManyLinks: ext4 counts no further.
        """
        inode = self._read_inode(child.node)
        if inode.links >= LINK_LIMIT:
            raise TooManyLinks
        inode.links += 1
        self._store_inode(child.node, inode)
        self._directory(directory).add(name, child.node, child.kind)

    def set_directory_metadata(self, directory: int, metadata: Metadata) -> None:
        """See ``Tree``."""
        inode = self._read_inode(directory)
        inode.set_metadata(metadata)
        self._store_inode(directory, inode)
        write_attributes(self._fs, directory, metadata.attributes)

    # ---- removing ----

    def remove(self, directory: int, name: bytes) -> list[int]:
        """See ``Tree``."""
        child = self._directory(directory).find(name)
        assert child is not None, "only what is there is removed"
        self._directory(directory).remove(name)
        gone: list[int] = []
        waiting = [child]
        while waiting:
            node, kind = waiting.pop()
            if kind == DIRECTORY:
                below = self._directory(node)
                waiting.extend(Child(packed >> 3, packed & 7) for packed in below.entries.values())
                del self._directories[node]
                gone.append(node)
            self._release(node, is_directory=kind == DIRECTORY)
        return gone

    def _release(self, number: int, *, is_directory: bool) -> None:
        """Take one name from an inode, and free it with the last one."""
        inode = self._read_inode(number)
        if inode.links > 1 and not is_directory:
            inode.links -= 1
            self._store_inode(number, inode)
            return
        raw = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(
            lib.ext2fs_free_ext_attr(self._fs, number, ffi.cast("struct ext2_inode_large *", raw))
        )
        self._free_blocks(number, inode)
        inode.set_deleted(FIXED_TIME)
        self._store_inode(number, inode)
        lib.ext2fs_inode_alloc_stats2(self._fs, number, -1, is_directory)

    # ---- inodes ----

    def _new_inode(self, *, is_directory: bool = False) -> int:
        superblock = self._fs.super
        start, end = self._last_inode + 1, superblock.s_inodes_count
        bitmap = self._fs.inode_map
        code = 1
        if start <= end:
            code = lib.ext2fs_find_first_zero_inode_bitmap2(bitmap, start, end, self._number)
        if code:
            first = superblock.s_first_ino
            code = lib.ext2fs_find_first_zero_inode_bitmap2(bitmap, first, end, self._number)
        if code:
            raise FilesystemFull(lib.EXT2_ET_INODE_ALLOC_FAIL)
        number = int(self._number[0])
        lib.ext2fs_inode_alloc_stats2(self._fs, number, 1, is_directory)
        self._last_inode = number
        return number

    def _read_inode(self, number: int) -> InodeFields:
        raw = bytearray(INODE_SIZE)
        pointer = ffi.from_buffer("struct ext2_inode *", raw)
        check(lib.ext2fs_read_inode_full(self._fs, number, pointer, INODE_SIZE))
        return InodeFields(raw)

    def _store_inode(self, number: int, inode: InodeFields) -> None:
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(lib.ext2fs_write_inode_full(self._fs, number, pointer, INODE_SIZE))

    def _write_inode(self, number: int, inode: bytes, metadata: Metadata) -> None:
        pointer = ffi.cast("struct ext2_inode *", ffi.from_buffer(inode))
        check(lib.ext2fs_write_inode_full(self._fs, number, pointer, INODE_SIZE))
        if metadata.attributes:
            write_attributes(self._fs, number, metadata.attributes)

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
                block=_EMPTY_TREE if tree is None else tree,
            )
        )
        if tree is None:
            pointer = ffi.from_buffer("struct ext2_inode *", inode)
            insert_extents(self._fs, number, pointer, runs)
        self._write_inode(number, bytes(inode), metadata)

    # ---- blocks ----

    def _has_blocks(self, inode: InodeFields) -> bool:
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        return bool(lib.ext2fs_inode_has_valid_blocks2(self._fs, pointer))

    def _block_of(self, number: int, inode: InodeFields, logical: int) -> int:
        pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
        check(
            lib.ext2fs_bmap2(
                self._fs, number, pointer, ffi.NULL, 0, logical, ffi.NULL, self._physical
            )
        )
        return int(self._physical[0])

    def _free_blocks(self, number: int, inode: InodeFields) -> None:
        if self._has_blocks(inode):
            pointer = ffi.from_buffer("struct ext2_inode *", inode.raw)
            check(lib.ext2fs_punch(self._fs, number, pointer, ffi.NULL, 0, 2**64 - 1))

    def _write_content(
        self, content: Content, segments: list[tuple[int, int]], runs: list[Run]
    ) -> None:
        """Send the data to its blocks, with zeroes where a block is not filled."""
        position = 0
        pending = iter(segments)
        offset, length = next(pending, (0, 0))
        for logical, physical, count in runs:
            shift = (physical - logical) * BLOCK_SIZE
            position, end = logical * BLOCK_SIZE, (logical + count) * BLOCK_SIZE
            while position < end:
                while not length:
                    offset, length = next(pending, (end, 2**62))
                if offset > position:
                    gap = min(offset, end) - position
                    check(lib.vl_nbd_write_zeroes(self._io, position + shift, gap))
                    position += gap
                    continue
                part = min(length, end - position)
                for piece in content.pieces(part):
                    self._put(position + shift, piece)
                    position += len(piece)
                offset, length = offset + part, length - part

    def _put(self, offset: int, data: memoryview) -> None:
        check(lib.vl_nbd_write_data(self._io, offset, ffi.from_buffer(data), len(data)))

    # ---- directories ----

    def _directory(self, number: int) -> Directory:
        directory = self._directories.get(number)
        if directory is None:
            inode = self._read_inode(number)
            directory = parse_blocks(number, self._directory_blocks(number, inode))
            self._directories[number] = directory
        return directory

    def _directory_blocks(self, number: int, inode: InodeFields) -> Iterator[bytes]:
        block = ffi.new("char[]", BLOCK_SIZE)
        for logical in range(inode.size // BLOCK_SIZE):
            place = self._block_of(number, inode, logical)
            check(lib.ext2fs_read_dir_block4(self._fs, place, block, 0, number))
            yield bytes(ffi.buffer(block, BLOCK_SIZE))

    def _write_directory(self, directory: Directory) -> None:
        blocks, indexed = build_blocks(directory, self._hash_name)
        number = directory.number
        inode = self._read_inode(number)
        if inode.size == len(blocks) * BLOCK_SIZE:
            places = [self._block_of(number, inode, logical) for logical in range(len(blocks))]
            extents = inode.block
        else:
            self._free_blocks(number, inode)
            runs = runs_for([(0, len(blocks) * BLOCK_SIZE)], self._blocks)
            places = [run.physical + at for run in runs for at in range(run.length)]
            extents = inline_extents(runs) or b""
            assert extents, "a directory is short enough for four extents"
        inode.set_directory_content(
            blocks=extents,
            size=len(blocks) * BLOCK_SIZE,
            sectors=len(blocks) * SECTORS_PER_BLOCK + inode.attribute_sectors,
            indexed=indexed,
        )
        inode.links = directory.links
        self._store_inode(number, inode)
        for place, block in zip(places, blocks, strict=True):
            pointer = ffi.from_buffer(bytearray(block))
            check(lib.ext2fs_write_dir_block4(self._fs, place, pointer, 0, number))
        directory.changed = False

    def _hash_name(self, name: bytes) -> int:
        superblock = self._fs.super
        version = superblock.s_def_hash_version + 3  # the unsigned one, as format.py says
        check(
            lib.ext2fs_dirhash2(
                version, name, len(name), ffi.NULL, 0, superblock.s_hash_seed, self._hash, ffi.NULL
            )
        )
        return int(self._hash[0])


def check_or_free(filesystem: Any, code: int) -> None:
    """Like ``check``, and let the file system go before raising."""
    if code:
        lib.ext2fs_free(filesystem)
        check(code)
