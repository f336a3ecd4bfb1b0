# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems with something wrong in them, whose checksums are right again.

Somebody who may write to a pool can make such ones; libext2fs finds nothing wrong until it follows
what they say.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from virtlayer.protocol.id_ranges import IdMap, IdRange, Owners
from virtlayer.worker.ext4.editing import CannotGrow, EditableExt4
from virtlayer.worker.ext4.filesystem import ROOT
from virtlayer.worker.ext4.image import Ext4Image
from virtlayer.worker.ext4.library import Ext4Error
from virtlayer.worker.kernel.image_files import ImageFiles, ImageModules
from virtlayer.worker.kernel.unusable import Unusable
from virtlayer.worker.tree import DIRECTORY, FIFO, REGULAR, SYMLINK, Metadata

BLOCK = 4096
_SIZE = 64 * 1024 * 1024
_INODE_SIZE = 256
_FIRST_INODE = 11
_SUPERBLOCK_AT = 1024
_NODES = 60
"""Limit of visited names: directories may form cycles."""
_SECONDS = 60
"""Time limit of an attempt."""
_METADATA = Metadata(0o644, 1000, 1000, 0)
_ACL = bytes.fromhex("0200000001000600ffffffff04000400ffffffff20000400ffffffff")
_VALUES = (0, 1, 2, 4, 7, 8, 12, 60, 0x7F, 0x80, 0xFF)

_Change = Callable[[bytearray, random.Random], None]


class DoesNotEnd(Exception):
    """The attempt exceeded its time limit."""


def _crc32c_of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC32C = [_crc32c_of_byte(byte) for byte in range(256)]


def crc32c(value: int, data: bytes | bytearray) -> int:
    """The checksum of ext4 (ext4(5), "Checksums"), which goes on from a value."""
    for byte in data:
        value = _CRC32C[(value ^ byte) & 0xFF] ^ value >> 8
    return value


@dataclass(frozen=True, slots=True)
class _Target:
    """Metadata that can be damaged.

    Attributes:
        offset: In the volume.
        length: In bytes.
        seal: Makes its checksum right.
    """

    offset: int
    length: int
    seal: Callable[[bytearray], None]


class DamageBench:
    """A volume that is damaged, used, and made whole again, as often as one likes.

    Args:
        directory: A directory for its files.
    """

    def __init__(self, directory: Path) -> None:
        self._volume = directory / "damaged"
        self._address = f"{directory}/nbd"
        with self._volume.open("wb") as stream:
            stream.truncate(_SIZE)

    def __enter__(self) -> Self:
        argv = ["qemu-nbd", "--format=raw", "--persistent", "--shared=0", "--cache=writeback"]
        self._server = subprocess.Popen([*argv, f"--socket={self._address}", self._volume])
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.wait()

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        while connection.connect_ex(self._address):
            assert self._server.poll() is None
            time.sleep(0.001)
        return connection

    def _make(self) -> None:
        with EditableExt4.formatted(self._connected(), _SIZE, "damage") as filesystem:
            _fill(filesystem)
            filesystem.finish()
            filesystem.leave()
        content = self._volume.read_bytes()
        blocks = (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))
        self._pristine = [
            (number * BLOCK, block) for number, block in enumerate(blocks) if any(block)
        ]
        self._targets = [*self._find_targets(content)]

    def attempt(self, seed: int) -> bool:
        """Damage the volume, and use it; whether anything could be read of it.

        Raises:
            DoesNotEnd: An operation takes too long.
            Exception: Everything but the errors that a damaged file system may lead to.
        """
        chance = random.Random(seed)  # noqa: S311 -- repeatable, not secret
        with self._volume.open("r+b") as stream:
            stream.truncate(0)
            stream.truncate(_SIZE)
            for offset, block in self._pristine:
                stream.seek(offset)
                stream.write(block)
            for target in chance.choices(self._targets, k=chance.choice((1, 1, 2, 5))):
                stream.seek(target.offset)
                data = bytearray(stream.read(target.length))
                _damage(data, chance)
                if chance.random() < 0.9:
                    target.seal(data)
                stream.seek(target.offset)
                stream.write(data)
        with _time_limit():
            return self._use(chance)

    def _use(self, chance: random.Random) -> bool:
        seen = 0
        opened = EditableExt4.opened
        with contextlib.suppress(Ext4Error), opened(self._connected()) as filesystem:
            seen = _look_around(filesystem)
            _change(filesystem, chance)
            with contextlib.suppress(Ext4Error):
                filesystem.finish()
            filesystem.leave()
        with contextlib.suppress(Ext4Error), Ext4Image.opened(self._connected()) as image:
            _look_for_modules(image)
        return bool(seen)

    # ---- where the metadata is (ext4(5)) ----

    def _find_targets(self, content: bytes) -> Iterator[_Target]:
        superblock = content[_SUPERBLOCK_AT : _SUPERBLOCK_AT + 1024]
        seed = crc32c(0xFFFFFFFF, superblock[104:120])
        descriptor = content[BLOCK : BLOCK + 64]
        (table,) = struct.unpack_from("<I", descriptor, 8)
        yield _Target(_SUPERBLOCK_AT, 1024, _seal_superblock)
        yield _Target(BLOCK, 64, lambda data: _seal_descriptor(data, seed))
        for number in (ROOT, 7, 8, *range(_FIRST_INODE, _FIRST_INODE + 60)):
            offset = table * BLOCK + (number - 1) * _INODE_SIZE
            inode = content[offset : offset + _INODE_SIZE]
            if not any(inode):
                continue
            own = crc32c(seed, struct.pack("<II", number, 0))
            for _ in range(3):
                yield _Target(offset, _INODE_SIZE, functools.partial(_seal_inode, own=own))
            yield from self._find_blocks(content, inode, seed, own)

    def _find_blocks(self, content: bytes, inode: bytes, seed: int, own: int) -> Iterator[_Target]:
        (mode,) = struct.unpack_from("<H", inode)
        magic, count, _, depth = struct.unpack_from("<HHHH", inode, 40)
        (attributes,) = struct.unpack_from("<I", inode, 104)
        if attributes:
            yield _Target(
                attributes * BLOCK, BLOCK, lambda data: _seal_attributes(data, seed, attributes)
            )
        if magic != 0xF30A:
            return
        for at in range(count):
            entry = inode[52 + 12 * at : 64 + 12 * at]
            if depth:
                (leaf,) = struct.unpack_from("<I", entry, 4)
                yield _Target(leaf * BLOCK, BLOCK, lambda data: _seal_extents(data, own))
            elif mode & 0o170000 == 0o040000:
                _, length, _, start = struct.unpack("<IHHI", entry)
                for block in range(start, start + length):
                    if content[block * BLOCK + 4088 : block * BLOCK + 4092] == b"\x0c\0\0\xde":
                        yield _Target(block * BLOCK, BLOCK, lambda data: _seal_directory(data, own))


def _fill(filesystem: EditableExt4) -> None:
    few = Metadata(0o755, 0, 0, 0, {b"user.a": b"1", b"system.posix_acl_access": _ACL})
    many = Metadata(0o755, 70_000, 70_000, 0, {b"user.large": b"v" * 3000})
    for name in (b"a", b"b", b"large"):
        directory = filesystem.add_directory(ROOT, name, many if name == b"b" else few)
        for number in range(400 if name == b"large" else 5):
            filesystem.add_special(directory, b"%d" % number, _METADATA, FIFO, 0, 0)
        filesystem.add_directory(directory, b"below", _METADATA)
    filesystem.add_symlink(ROOT, b"fast", _METADATA, b"a/b")
    filesystem.add_symlink(ROOT, b"slow", many, b"t" * 90)
    filesystem.add_file(ROOT, b"file", few, _Pieces([(0, 9000)]))
    filesystem.add_file(ROOT, b"tree", many, _Pieces([(at * 20_480, 5000) for at in range(40)]))
    filesystem.add_file(ROOT, b"holes", few, _Pieces([(4096, 5000), (20_480, 1)]))


class _Pieces:
    """The content of a sparse file."""

    def __init__(self, segments: list[tuple[int, int]]) -> None:
        self.segments = segments
        self.size = sum(segments[-1])

    def pieces(self, length: int) -> Iterator[memoryview]:
        yield memoryview(b"s" * length)

    def whole(self) -> memoryview | None:
        return None


# ---- damage ----


def _damage(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(data))
        if chance.random() < 0.5:
            place = place % 256 % len(data)  # headers are at the beginning
        match chance.randrange(4):
            case 0:
                data[place] = chance.choice(_VALUES)
            case 1:
                data[place] ^= 1 << chance.randrange(8)
            case 2 if place + 4 <= len(data):
                value = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, chance.randrange(2**16)))
                struct.pack_into("<I", data, place & ~3, value)
            case 3:
                end = min(place + chance.choice((4, 8, 12, 64)), len(data))
                data[place:end] = chance.randbytes(end - place)


def _seal_superblock(data: bytearray) -> None:
    struct.pack_into("<I", data, 1020, crc32c(0xFFFFFFFF, data[:1020]))


def _seal_descriptor(data: bytearray, seed: int) -> None:
    value = crc32c(crc32c(seed, bytes(4)), data[:30])
    struct.pack_into("<H", data, 30, crc32c(crc32c(value, bytes(2)), data[32:]) & 0xFFFF)


def _seal_inode(data: bytearray, own: int) -> None:
    (extra,) = struct.unpack_from("<H", data, 128)
    struct.pack_into("<H", data, 124, 0)
    if extra >= 4:
        struct.pack_into("<H", data, 130, 0)
    value = crc32c(own, data)
    struct.pack_into("<H", data, 124, value & 0xFFFF)
    if extra >= 4:
        struct.pack_into("<H", data, 130, value >> 16)


def _seal_directory(data: bytearray, own: int) -> None:
    struct.pack_into("<IHBBI", data, BLOCK - 12, 0, 12, 0, 0xDE, crc32c(own, data[: BLOCK - 12]))


def _seal_extents(data: bytearray, own: int) -> None:
    (most,) = struct.unpack_from("<H", data, 4)
    tail = 12 + 12 * most
    if tail + 4 <= BLOCK:
        struct.pack_into("<I", data, tail, crc32c(own, data[:tail]))


def _seal_attributes(data: bytearray, seed: int, block: int) -> None:
    struct.pack_into("<I", data, 16, 0)
    struct.pack_into("<I", data, 16, crc32c(crc32c(seed, struct.pack("<Q", block)), data))


# ---- use ----


def _look_around(filesystem: EditableExt4) -> int:
    """Read whatever there is; how much that was."""
    waiting, seen = [ROOT], 0
    filesystem.expect([b"a/1", b"large/399", b"b/below", b"fast/x"])
    while waiting and seen < _NODES:
        directory = waiting.pop()
        with contextlib.suppress(Ext4Error):
            for name in filesystem.names(directory)[:_NODES]:
                child = filesystem.find(directory, name)
                assert child is not None
                seen += 1
                if child.kind == DIRECTORY:
                    waiting.append(child.node)
                _read(filesystem, child.node, child.kind)
    return seen


def _look_for_modules(image: Ext4Image) -> None:
    """Read files as the worker does that looks for a kernel and its modules."""
    files = ImageFiles(image)
    for directory in (b"a", b"b", b"large", b"fast"):
        with contextlib.suppress(Ext4Error, Unusable):
            for _ in itertools.islice(ImageModules(files, directory).paths(), _NODES):
                pass
    for name in (b"file", b"tree", b"holes", b"slow", b"fast"):
        with contextlib.suppress(Ext4Error, Unusable):
            for _ in files.pieces(name, 1024 * 1024):
                pass


def _read(filesystem: EditableExt4, node: int, kind: int) -> None:
    with contextlib.suppress(Ext4Error):
        filesystem.metadata(node)
        if kind == SYMLINK:
            filesystem.target(node)
        elif kind == REGULAR:
            filesystem.content(node, 1024 * 1024)


def _change(filesystem: EditableExt4, chance: random.Random) -> None:
    def add() -> None:
        filesystem.add_file(ROOT, b"new", _METADATA, _Pieces([(at * 9000, 99) for at in range(9)]))
        new = filesystem.add_directory(ROOT, b"directory", Metadata(0, 0, 0, 0, {b"user.a": b"b"}))
        filesystem.add_symlink(new, b"symlink", _METADATA, b"t" * 100)

    def link() -> None:
        for name in filesystem.names(ROOT)[:5]:
            child = filesystem.find(ROOT, name)
            if child and child.kind != DIRECTORY:
                filesystem.add_link(ROOT, b"link to " + name, child)

    def remove() -> None:
        for name in chance.sample(sorted(filesystem.names(ROOT)), 3):
            filesystem.remove(ROOT, name)

    def replace() -> None:
        filesystem.set_directory_metadata(ROOT, Metadata(0o700, 1, 1, 1, {b"user.new": b"n" * 99}))

    def own() -> None:
        ids = IdMap([IdRange(0, 100_000, 65_536)], "map")
        filesystem.map_owners(Owners(ids, ids))

    def grow() -> None:
        with contextlib.suppress(CannotGrow):
            filesystem.grow(_SIZE)

    def tidy() -> None:
        for name in filesystem.names(ROOT):
            filesystem.remove(ROOT, name)

    steps = [add, link, remove, replace, own, grow, tidy]
    for step in chance.sample(steps, chance.choice((1, 2, len(steps)))):
        with contextlib.suppress(Ext4Error, ValueError):
            step()


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _does_not_end)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _does_not_end(*_: object) -> NoReturn:
    raise DoesNotEnd
