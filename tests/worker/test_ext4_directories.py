# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories on their way to an ext4 and back, whatever their blocks hold."""

import contextlib
import os
import random
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.trees import mounted
from tests.support.volumes import assert_sound, format_volume, served
from tests.worker.damage import crc32c
from virtlayer.worker.ext4.filesystem import LINK_LIMIT, ROOT, Ext4Filesystem
from virtlayer.worker.ext4.library import Ext4Error, check, ffi, lib
from virtlayer.worker.tree import FIFO, Child, Metadata

_SIZE = 256 * 1024 * 1024
_BLOCK = 4096
_METADATA = Metadata(0o755, 0, 0, 0)
_IDENTITY = "directories"  # decides what names hash to


async def _formatted(volume: Path, fill: Callable[[Ext4Filesystem], None]) -> None:
    await format_volume(volume, _SIZE, _IDENTITY, fill)


async def _changed(volume: Path, change: Callable[[Ext4Filesystem], None]) -> None:
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            change(filesystem)
            filesystem.finish()
            filesystem.leave()


def _found(filesystem: Ext4Filesystem, directory: int, name: bytes) -> Child:
    found = filesystem.find(directory, name)
    assert found is not None
    return found


def _enter(filesystem: Ext4Filesystem, directory: int, names: list[bytes]) -> None:
    """Names of a few nodes: inodes are not what is tested here."""
    for start in range(0, len(names), LINK_LIMIT):
        first, *others = names[start : start + LINK_LIMIT]
        filesystem.add_special(directory, first, _METADATA, FIFO, 0, 0)
        node = _found(filesystem, directory, first)
        for name in others:
            filesystem.add_link(directory, name, node)


def _names(count: int, length: int) -> list[bytes]:
    return [f"{number:06}".ljust(length, "n").encode()[-length:] for number in range(count)]


def _debugfs(volume: Path, *commands: str) -> str:
    script = volume.with_suffix(".debugfs")
    script.write_text("".join(f"{command}\n" for command in commands))
    argv: list[str | Path] = ["debugfs", "-f", script, volume]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


# A block has room for 4084 bytes, of which 24 are "." and ".."; a name of 3 bytes takes 12 of
# them, one of 255 bytes 264.
_SHAPES = {
    "nothing": ([], 1),
    "one name": ([b"x"], 1),
    "every length": ([b"x" * length for length in range(1, 256)], 10),
    "every byte": ([bytes([byte]) for byte in range(1, 256) if byte not in b"./"], 1),
    "a full block": ([f"{number:03}".encode() for number in range(338)], 1),
    "one name more": ([f"{number:03}".encode() for number in range(339)], 2),
    "a full root": (_names(507 * 15, 255), 508),
    "two levels": (_names(507 * 15 + 1, 255), 510),
    "two full nodes and one": (_names(1020 * 15 + 1, 255), 1025),
}


@pytest.mark.parametrize("shape", _SHAPES)
async def test_written_names_can_be_read(shape: str, tmp_path: Path) -> None:
    names, blocks = _SHAPES[shape]
    volume = tmp_path / "volume"

    def fill(filesystem: Ext4Filesystem) -> None:
        directory = filesystem.add_directory(ROOT, b"d", _METADATA)
        _enter(filesystem, directory, names)
        filesystem.add_directory(directory, b"below", _METADATA)
        filesystem.remove(directory, b"below")

    def read(filesystem: Ext4Filesystem) -> None:
        directory = _found(filesystem, ROOT, b"d").node
        assert sorted(filesystem.names(directory)) == sorted(names)
        assert all(_found(filesystem, directory, name).kind == FIFO for name in names)

    await _formatted(volume, fill)
    await _changed(volume, read)

    assert f"Size: {blocks * _BLOCK}\n" in _debugfs(volume, "stat /d")
    with mounted(volume, tmp_path / "mnt") as root:
        assert all((root / "d" / os.fsdecode(name)).exists() for name in names[::97])


async def test_list_becomes_tree_becomes_list(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    sizes = [10, 9000, 200, 10, 338, 339, 0, 5000]
    entered: list[bytes] = []

    async def resize(count: int) -> None:
        def change(filesystem: Ext4Filesystem) -> None:
            directory = _found(filesystem, ROOT, b"d").node
            for name in entered:
                filesystem.remove(directory, name)
            entered[:] = _names(count, 40)
            _enter(filesystem, directory, entered)

        await _changed(volume, change)

    await _formatted(volume, lambda new: _ignore(new.add_directory(ROOT, b"d", _METADATA)))
    for size in sizes:
        await resize(size)
        assert_sound(volume)
        assert len(re.findall(r" 10755 ", _debugfs(volume, "ls -l /d"))) == size
        assert ("Root node dump" in _debugfs(volume, "htree_dump /d")) == (size > 84)


def _ignore(_: object) -> None:
    pass


async def test_names_of_one_hash_in_two_blocks(tmp_path: Path) -> None:
    """The index says that who looks for one of them goes on in the block behind."""
    first, second = (b"%06d" % number + b"n" * 34 for number in (44632, 47441))
    volume = tmp_path / "volume"
    await _formatted(volume, lambda new: _ignore(new.add_directory(ROOT, b"d", _METADATA)))
    hashes = _hashes(volume, [first, second, *_names(400, 40)])
    assert hashes[first] == hashes[second]
    before = [name for name, value in hashes.items() if value < hashes[first]]
    # A block has room for 85 names of this length.
    assert len(before) >= 84

    def fill(filesystem: Ext4Filesystem) -> None:
        directory = _found(filesystem, ROOT, b"d").node
        after = [name for name, value in hashes.items() if value > hashes[first]]
        _enter(filesystem, directory, [*after, second, *before[:84], first])

    await _changed(volume, fill)

    assert_sound(volume)
    assert f"Hash 0x{hashes[first] | 1:08x}" in _debugfs(volume, "htree_dump /d")
    with mounted(volume, tmp_path / "mnt") as root:
        assert all((root / "d" / name.decode()).exists() for name in (first, second, *before[:84]))


def _hashes(volume: Path, names: list[bytes]) -> dict[bytes, int]:
    """The hashes of names according to debugfs."""
    shown = _debugfs(volume, "show_super_stats -h")
    seed = re.search(r"Directory Hash Seed: +(\S+)", shown)
    assert seed
    output = _debugfs(
        volume, *(f"dx_hash -h half_md4 -s {seed[1]} {name.decode()}" for name in names)
    )
    found = re.findall(r"Hash of (\S+) is (0x[0-9a-f]+)", output)
    return {name.encode(): int(value, 16) for name, value in found}


# ---- damaged blocks ----
#
# Where libext2fs finds that out, by the checksum or by what the block holds, it is an error. What
# it accepts is ours to read, and nothing beyond it.


def _entries(block: bytes) -> Iterator[tuple[bytes, Child]]:
    """The readable entries of a block of names."""
    offset = 0
    while offset + 8 <= _BLOCK:
        inode, length, name_length, kind = struct.unpack_from("<IHBB", block, offset)
        name = block[offset + 8 : offset + 8 + name_length]
        if inode and name not in (b".", b".."):
            packed = inode << 3 | kind
            yield name, Child(packed >> 3, packed & 7)
        if length < 8:
            break
        offset += length


def _block(*entries: tuple[int, int, bytes]) -> bytes:
    """Entries by their place, record length and name."""
    block = bytearray(_BLOCK)
    for offset, length, name in entries:
        struct.pack_into("<IHBB", block, offset, 12, length, len(name) & 255, FIFO)
        block[offset + 8 : offset + 8 + len(name)] = name[: _BLOCK - offset - 8]
    return bytes(block)


_DAMAGED = {
    "nothing": bytes(_BLOCK),
    "ones": b"\xff" * _BLOCK,
    "no length": _block((0, 0, b"seen"), (12, 4084, b"unseen")),
    "a short length": _block((0, 7, b"seen"), (8, 4088, b"unseen")),
    "the shortest length": _block((0, 8, b""), (8, 4088, b"next")),
    "a name in the names behind it": _block((0, 12, b"x" * 255), (12, 4084, b"next")),
    "a length beyond the block": _block((0, 65535, b"seen"), (12, 4084, b"unseen")),
    "a length to the middle of an entry": _block((0, 13, b"seen"), (13, 4083, b"odd")),
    "a name beyond the block": _block((0, 4000, b"seen"), (4000, 96, b"y" * 255)),
    "a header at the end": _block((0, 4088, b"seen"), (4088, 8, b"")),
    "a name beyond the last header": _block((0, 4088, b"seen"), (4088, 8, b"z" * 9)),
    "half a header at the end": _block((0, 4089, b"seen")),
    "the same name twice": _block((0, 16, b"same"), (16, 4080, b"same")),
    "names without letters": _block((0, 8, b""), (8, 4088, b"")),
}


def _random_blocks(count: int) -> list[bytes]:
    """Blocks of names of which a few bytes are others."""
    chance = random.Random(1)  # noqa: S311 -- the same ones each time
    blocks = []
    for _ in range(count):
        names = [chance.randbytes(chance.choice([1, 8, 255])) for _ in range(300)]
        block = bytearray().join(
            struct.pack("<IHBB", 12, (len(name) + 11) & ~3, len(name), FIFO)
            + name.ljust((len(name) + 3) & ~3, b"\0")
            for name in names
        )[:_BLOCK]
        block = block.ljust(_BLOCK, b"\0").replace(b"/", b"_")
        for _ in range(chance.choice([1, 5, 50])):
            block[chance.randrange(_BLOCK)] = chance.choice([0, 1, 4, 8, 255])
        blocks.append(bytes(block))
    return blocks


def _listed(block: bytes) -> list[tuple[bytes, Child]]:
    """The entries that the writer reads from a single block."""
    listing = ffi.new("struct vl_listing *")
    try:
        check(lib.vl_list_block(listing, block, len(block)))
        names = bytes(ffi.buffer(listing.names, listing.length)).split(b"/")
        values = ffi.unpack(listing.values, listing.count) if listing.count else []
    finally:
        lib.vl_forget_listing(listing)
    return [
        (name, Child(value >> 3, value & 7)) for name, value in zip(names, values, strict=False)
    ]


def test_damaged_block_is_read_as_far_as_it_goes() -> None:
    for name, block in _DAMAGED.items():
        assert _listed(block) == list(_entries(block)), name


def test_randomly_damaged_block_is_read_as_far_as_it_goes() -> None:
    for block in _random_blocks(500):
        assert _listed(block) == list(_entries(block))


@pytest.mark.parametrize(
    "block", [_block((0, 16, b"a/b"), (16, 4080, b"c")), _block((0, 4096, b"/"))]
)
def test_name_with_a_slash_is_refused(block: bytes) -> None:
    with pytest.raises(Ext4Error, match="directory corrupted"):
        _listed(block)


_TAIL = struct.Struct("<IHBBI")


def _sealed(block: bytes, uuid: bytes, inode: int) -> bytes:
    """A block with the checksum of a directory's (struct ext2_dir_entry_tail) in its last bytes."""
    content = block[: _BLOCK - _TAIL.size]
    seed = crc32c(crc32c(0xFFFFFFFF, uuid), struct.pack("<II", inode, 0))
    return content + _TAIL.pack(0, _TAIL.size, 0, 0xDE, crc32c(seed, content))


async def _read_sealed(volume: Path, blocks: list[bytes]) -> int:
    """Give directories these blocks, with checksums, and look into them; how many were accepted."""

    def fill(filesystem: Ext4Filesystem) -> None:
        for number in range(len(blocks)):
            filesystem.add_directory(ROOT, b"%d" % number, _METADATA)

    await _formatted(volume, fill)
    places = _debugfs(volume, *(f"blocks /{number}" for number in range(len(blocks))))
    found = re.findall(r"^(\d+) *$", places, re.MULTILINE)
    accepted = 0
    with volume.open("r+b") as stream:
        stream.seek(1024 + 104)
        uuid = stream.read(16)
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            numbers = [
                _found(filesystem, ROOT, b"%d" % number).node for number in range(len(blocks))
            ]
            filesystem.leave()
    sealed = [_sealed(*one) for one in zip(blocks, [uuid] * len(blocks), numbers, strict=True)]
    with volume.open("r+b") as stream:
        for place, block in zip(found, sealed, strict=True):
            stream.seek(int(place) * _BLOCK)
            stream.write(block)
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            for number, block in zip(numbers, sealed, strict=True):
                with contextlib.suppress(Ext4Error):
                    assert filesystem.names(number) == list(dict(_entries(block)))
                    accepted += 1
            filesystem.leave()
    return accepted


async def test_damaged_block_with_a_checksum_is_refused_or_read_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    whole = _block((0, 12, b"."), (12, 12, b".."), (24, 4060, b"seen"))
    blocks = [whole, *_DAMAGED.values(), *_random_blocks(100)]
    assert await _read_sealed(tmp_path / "volume", blocks) >= 1


async def test_directory_with_a_hole_is_refused(tmp_path: Path) -> None:
    """A directory whose size exceeds its blocks."""
    volume = tmp_path / "volume"

    def see(filesystem: Ext4Filesystem) -> None:
        directory = _found(filesystem, ROOT, b"d").node
        with pytest.raises(Ext4Error, match="directory corrupted"):
            filesystem.names(directory)

    await _formatted(volume, lambda new: _ignore(new.add_directory(ROOT, b"d", _METADATA)))
    subprocess.run(
        ["debugfs", "-w", "-R", "set_inode_field /d size 1099511627776", volume],
        check=True,
        capture_output=True,
    )
    await _changed(volume, see)


async def test_directory_without_its_checksum_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"

    def see(filesystem: Ext4Filesystem) -> None:
        directory = _found(filesystem, ROOT, b"d").node
        with pytest.raises(Ext4Error, match="checksum"):
            filesystem.names(directory)

    await _formatted(volume, lambda new: _ignore(new.add_directory(ROOT, b"d", _METADATA)))
    (place,) = re.findall(r"^(\d+) *$", _debugfs(volume, "blocks /d"), re.MULTILINE)
    with volume.open("r+b") as stream:
        stream.seek(int(place) * _BLOCK + 100)
        stream.write(b"x")
    await _changed(volume, see)
