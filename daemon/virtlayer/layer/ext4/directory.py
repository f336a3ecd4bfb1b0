# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blocks of a directory (ext4(5), "Directory Entries" and "Hash Tree Directories").

A directory is read whole, changed in memory, and written whole: a name costs a dictionary entry
and not a scan of the blocks, which is what ext2fs_link would do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping

from virtlayer.layer.ext4.blocks import BLOCK_SIZE
from virtlayer.layer.tree import DIRECTORY, Child

NAME_LIMIT = 255

_TAIL = struct.pack("=IHBB", 0, 12, 0, 0xDE) + bytes(4)
"""A nameless entry at the end of each block; libext2fs puts the checksum in (metadata_csum)."""
_ROOM = BLOCK_SIZE - len(_TAIL)
_ENTRY = struct.Struct("=IHBB")
_INDEX_ENTRY = struct.Struct("<II")
_HALF_MD4 = 1
_ROOT_LIMIT = (BLOCK_SIZE - 32 - 8) // _INDEX_ENTRY.size
_NODE_LIMIT = (BLOCK_SIZE - 8 - 8) // _INDEX_ENTRY.size

type Hash = Callable[[bytes], int]


class DirectoryTooLarge(Exception):
    """More names than a hash tree of two levels can find."""


class Directory:
    """A directory in memory.

    Args:
        number: Its inode.
        parent: The inode that ``..`` leads to.
        entries: What its names lead to, each as inode number and kind packed into one int: with
            a million names in memory, their size counts.
    """

    __slots__ = ("changed", "entries", "number", "parent")

    def __init__(self, number: int, parent: int, entries: dict[bytes, int]) -> None:
        self.number = number
        self.parent = parent
        self.entries = entries
        self.changed = False

    def find(self, name: bytes) -> Child | None:
        """What a name leads to."""
        packed = self.entries.get(name)
        return None if packed is None else Child(packed >> 3, packed & 7)

    def add(self, name: bytes, number: int, kind: int) -> None:
        """Enter a name."""
        self.entries[name] = number << 3 | kind
        self.changed = True

    def remove(self, name: bytes) -> None:
        """Take a name out."""
        del self.entries[name]
        self.changed = True

    @property
    def links(self) -> int:
        """The link count: its name, its ``.``, and the ``..`` of each directory in it."""
        below = sum(1 for packed in self.entries.values() if packed & 7 == DIRECTORY)
        # "dir_nlink": 1 says that they are too many to count.
        return below + 2 if below + 2 < 65000 else 1


def parse_blocks(number: int, blocks: Iterable[bytes]) -> Directory:
    """Read a directory; the blocks of a hash tree look like blocks without names."""
    parent = 0
    entries: dict[bytes, int] = {}
    for block in blocks:
        for inode, kind, name in _parse_block(block):
            if name == b"..":
                parent = inode
            elif name != b".":
                entries[name] = inode << 3 | kind
    return Directory(number, parent, entries)


def _parse_block(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + 8 <= BLOCK_SIZE:
        inode, length, name_length, kind = _ENTRY.unpack_from(block, offset)
        if inode:
            yield inode, kind, block[offset + 8 : offset + 8 + name_length]
        if length < 8:
            break
        offset += length


def build_blocks(directory: Directory, hash_name: Hash) -> tuple[list[bytes], bool]:
    """The blocks that a directory should consist of.

    One block is a list; more are a hash tree, as the kernel has them from the second block on.

    Args:
        directory: The directory.
        hash_name: The file system's hash of a name.

    Returns:
        The blocks, and whether they are a hash tree (so that the inode must say so).

    Raises:
        DirectoryTooLarge: There are more names than a hash tree of two levels can find.
    """
    dots = [_encode(directory.number, DIRECTORY, b"."), _encode(directory.parent, DIRECTORY, b"..")]
    entries = directory.entries
    if sum(map(_length, entries)) + sum(map(len, dots)) <= _ROOM:
        names = [_encode(packed >> 3, packed & 7, name) for name, packed in entries.items()]
        return [_fill_block([*dots, *names])], False
    leaves = list(_pack_leaves(entries, hash_name))
    return _index(directory, leaves), True


def _length(name: bytes) -> int:
    return len(name) + 11 & ~3


def _encode(number: int, kind: int, name: bytes) -> bytes:
    length = _length(name)
    return (_ENTRY.pack(number, length, len(name), kind) + name).ljust(length, b"\0")


def _fill_block(entries: list[bytes]) -> bytes:
    """Join entries; the last one reaches to the tail."""
    used = sum(map(len, entries))
    last = bytearray(entries[-1])
    struct.pack_into("=H", last, 4, len(last) + _ROOM - used)
    return b"".join(entries[:-1]) + bytes(last) + bytes(_ROOM - used) + _TAIL


def _pack_leaves(entries: Mapping[bytes, int], hash_name: Hash) -> Iterator[tuple[int, bytes]]:
    """Blocks of names in the order of their hashes, each with the lowest hash that leads to it."""
    # One bytes a name and no tuple: there may be a million of them.
    hashed = sorted((hash_name(name) & ~1).to_bytes(4) + name for name in entries)
    waiting: list[bytes] = []
    used, first, previous = 0, 0, -1
    for key in hashed:
        value, name = int.from_bytes(key[:4]), key[4:]
        packed = entries[name]
        entry = _encode(packed >> 3, packed & 7, name)
        if used + len(entry) > _ROOM:
            yield first, _fill_block(waiting)
            waiting, used = [], 0
            # Bit 0 says that names of the same hash stand in the block before as well.
            first = value | (value == previous)
        waiting.append(entry)
        used += len(entry)
        previous = value
    yield first, _fill_block(waiting)


def _index(directory: Directory, leaves: list[tuple[int, bytes]]) -> list[bytes]:
    """Put the index before the leaves: the root alone, or a level of nodes below it."""
    if len(leaves) <= _ROOT_LIMIT:
        starts = [(first, 1 + place) for place, (first, _) in enumerate(leaves)]
        return [_index_root(directory, starts, levels=0), *(leaf for _, leaf in leaves)]
    groups = [leaves[at : at + _NODE_LIMIT] for at in range(0, len(leaves), _NODE_LIMIT)]
    if len(groups) > _ROOT_LIMIT:
        raise DirectoryTooLarge
    starts = [(group[0][0], 1 + place) for place, group in enumerate(groups)]
    blocks = [_index_root(directory, starts, levels=1)]
    place = 1 + len(groups)
    for group in groups:
        below = [(first, place + offset) for offset, (first, _) in enumerate(group)]
        blocks.append(_index_node(below))
        place += len(group)
    return blocks + [leaf for _, leaf in leaves]


def _index_root(directory: Directory, starts: list[tuple[int, int]], *, levels: int) -> bytes:
    # To who knows no hash trees, ".." is the last entry and reaches to the end of the block.
    parent = bytearray(_encode(directory.parent, DIRECTORY, b".."))
    struct.pack_into("=H", parent, 4, BLOCK_SIZE - 12)
    return (
        _encode(directory.number, DIRECTORY, b".")
        + bytes(parent)
        + struct.pack("<IBBBB", 0, _HALF_MD4, 8, levels, 0)
        + _index_entries(starts, _ROOT_LIMIT)
    ).ljust(BLOCK_SIZE, b"\0")


def _index_node(starts: list[tuple[int, int]]) -> bytes:
    nameless = _ENTRY.pack(0, BLOCK_SIZE, 0, 0)
    return (nameless + _index_entries(starts, _NODE_LIMIT)).ljust(BLOCK_SIZE, b"\0")


def _index_entries(starts: list[tuple[int, int]], limit: int) -> bytes:
    """The first entry needs no hash: limit and count stand in its place."""
    head = struct.pack("<HHI", limit, len(starts), starts[0][1])
    return head + b"".join(_INDEX_ENTRY.pack(first, block) for first, block in starts[1:])
