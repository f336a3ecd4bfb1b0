# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of an inode (struct ext2_inode_large in ext2_fs.h; ext4(5), "Inode Table")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtlayer.worker.tree import Metadata

INODE_SIZE = 256
EXTRA_SIZE = 32
"""How many bytes beyond the classic 128 have a meaning: up to and with i_projid."""

EXTENTS_FLAG = 0x00080000

# libext2fs takes inodes in the host's byte order and swaps them where that is not the disk's.
_LAYOUT = struct.Struct(
    "="
    "HHIIIIIHHIII"  # mode uid size atime ctime mtime dtime gid links blocks flags osd1
    "60s"  # block
    "IIII"  # generation file_acl size_high faddr
    "HHHHHH"  # blocks_high file_acl_high uid_high gid_high checksum_low reserved
    "HHIIIIIII"  # extra_isize checksum_high {c,m,a}time_extra crtime crtime_extra version_hi projid
)
_EMPTY_TAIL = bytes(INODE_SIZE - _LAYOUT.size)
_NO_BLOCKS = bytes(60)

_ATTRIBUTES_MAGIC = 0xEA020000

_EARLIEST = -(2**31)
_LATEST = 2**34 - 2**31 - 1


def encode_time(nanoseconds: int) -> tuple[int, int]:
    """A time as ext4 keeps it (ext4(5), "Inode Timestamps").

    Args:
        nanoseconds: Since 1970; what is before 1901 or after 2446 becomes the first or last
            second that ext4 can say, as Linux does it.

    Returns:
        The 32 bits of the classic field and of the extra one.
    """
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    if seconds < _EARLIEST:
        seconds, fraction = _EARLIEST, 0
    elif seconds > _LATEST:
        seconds, fraction = _LATEST, 0
    return seconds & 0xFFFFFFFF, ((seconds + 2**31) >> 32 & 3) | fraction << 2


def decode_time(classic: int, extra: int) -> int:
    """The nanoseconds since 1970 that ``encode_time`` has put into these fields."""
    seconds = (classic ^ 0x80000000) - 0x80000000 + ((extra & 3) << 32)
    return seconds * 1_000_000_000 + (extra >> 2)


def encode_device(major: int, minor: int) -> bytes:
    """Device numbers in the form that i_block has of them (Linux, new_encode_dev).

    Args:
        major: 12 bits.
        minor: 20 bits.
    """
    if major < 256 and minor < 256:
        return struct.pack("=II", major << 8 | minor, 0)
    return struct.pack("=II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def encode_inode(
    metadata: Metadata,
    file_type: int,
    *,
    size: int = 0,
    links: int = 1,
    sectors: int = 0,
    flags: int = 0,
    block: bytes = _NO_BLOCKS,
) -> bytes:
    """A whole inode that has no extended attributes yet.

    Args:
        metadata: Mode bits, owner and time; the time is every time of the inode, so that the
            same layer gives the same bytes.
        file_type: The S_IF bits of the mode.
        size: In bytes.
        links: The link count.
        sectors: What the file occupies, in units of 512 bytes.
        flags: Inode flags.
        block: The 60 bytes of i_block, or fewer.
    """
    time, extra = encode_time(metadata.mtime)
    uid, gid = metadata.uid, metadata.gid
    return (
        _LAYOUT.pack(
            file_type | metadata.mode,
            uid & 0xFFFF,
            size & 0xFFFFFFFF,
            time,
            time,
            time,
            0,
            gid & 0xFFFF,
            links,
            sectors & 0xFFFFFFFF,
            flags,
            0,
            block,
            0,
            0,
            size >> 32,
            0,
            sectors >> 32,
            0,
            uid >> 16,
            gid >> 16,
            0,
            0,
            EXTRA_SIZE,
            0,
            extra,
            extra,
            extra,
            time,
            extra,
            0,
            0,
        )
        + _EMPTY_TAIL
    )


class InodeFields:
    """An inode that was read and is to be changed in a few fields.

    Args:
        raw: Its ``INODE_SIZE`` bytes; changed in place.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytearray) -> None:
        self.raw = raw

    @property
    def mode(self) -> int:
        """Type and permission bits."""
        return self._get("=H", 0)

    @property
    def uid(self) -> int:
        """The owner."""
        return self._get("=H", 2) | self._get("=H", 120) << 16

    @property
    def gid(self) -> int:
        """The group."""
        return self._get("=H", 24) | self._get("=H", 122) << 16

    def set_owner(self, uid: int, gid: int) -> None:
        """Replace owner and group, and nothing else: chown(2) would take setuid bits away."""
        struct.pack_into("=H", self.raw, 2, uid & 0xFFFF)
        struct.pack_into("=H", self.raw, 24, gid & 0xFFFF)
        struct.pack_into("=HH", self.raw, 120, uid >> 16, gid >> 16)

    @property
    def mtime(self) -> int:
        """The time of the last modification, in nanoseconds since 1970."""
        return decode_time(self._get("=I", 16), self._get("=I", 136))

    @property
    def has_attributes(self) -> bool:
        """Whether there may be extended attributes, beside the inode or in a block."""
        beside = 128 + self._get("=H", 128)
        return bool(self.attribute_sectors) or (
            beside + 4 <= INODE_SIZE and self._get("<I", beside) == _ATTRIBUTES_MAGIC
        )

    @property
    def links(self) -> int:
        """The link count."""
        return self._get("=H", 26)

    @links.setter
    def links(self, count: int) -> None:
        struct.pack_into("=H", self.raw, 26, count)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._get("=I", 4) | self._get("=I", 108) << 32

    @property
    def block(self) -> bytes:
        """The 60 bytes of i_block: a short symlink's target, a device number, an extent tree."""
        return bytes(self.raw[40:100])

    @property
    def sectors(self) -> int:
        """What the file occupies, in units of 512 bytes."""
        return self._get("=I", 28) | self._get("=H", 116) << 32

    @sectors.setter
    def sectors(self, count: int) -> None:
        struct.pack_into("=I", self.raw, 28, count & 0xFFFFFFFF)
        struct.pack_into("=H", self.raw, 116, count >> 32)

    @property
    def attribute_sectors(self) -> int:
        """How many of the sectors are a block of extended attributes."""
        return 8 if self._get("=I", 104) or self._get("=H", 118) else 0

    def set_deleted(self, seconds: int) -> None:
        """Say that nobody refers to this inode any more, and since when (1970 + seconds)."""
        self.links = 0
        struct.pack_into("=I", self.raw, 20, seconds)

    def set_directory_content(self, *, blocks: bytes, size: int, sectors: int) -> None:
        """Point the inode at new content: an extent tree of that size in bytes and sectors."""
        struct.pack_into("=I", self.raw, 4, size)
        struct.pack_into("=I", self.raw, 28, sectors)
        struct.pack_into("=I", self.raw, 32, self._get("=I", 32) | EXTENTS_FLAG)
        self.raw[40:100] = blocks.ljust(60, b"\0")
        struct.pack_into("=I", self.raw, 108, size >> 32)

    def set_metadata(self, metadata: Metadata) -> None:
        """Replace permissions, owner and times; the type stays."""
        fresh = encode_inode(metadata, self.mode & 0o170000)
        for start, end in ((0, 4), (8, 20), (24, 26), (120, 124), (132, 152)):
            self.raw[start:end] = fresh[start:end]

    def _get(self, layout: str, offset: int) -> int:
        value: int = struct.unpack_from(layout, self.raw, offset)[0]
        return value
