# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives with something wrong in them: those of the conformance cases, and what chance does."""

import gzip
import os
import random
from collections.abc import Iterator

import zstandard

from tests.support.archives import BLOCK, base256
from tests.worker.conformance import all_cases
from tests.worker.memory_tree import MemoryTree
from virtlayer.protocol.layer_limits import LayerLimits
from virtlayer.worker.apply import LayerApplication
from virtlayer.worker.archive.archive import Archive
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.problems import (
    BrokenStream,
    LayerProblem,
    StreamTooLong,
    UnsupportedCompression,
)

LIMITS = LayerLimits(
    bytes=32 * 1024 * 1024, entries=10_000, path=4096, header=64 * 1024, segments=10_000
)
DEFINED = (LayerProblem, BrokenStream, UnsupportedCompression, StreamTooLong)

_LARGEST = 200_000
_INTERESTING = [
    *(bytes([byte]) for byte in b"\0\x80\xff/. =\nxgSLK125"),
    *(b"..", b".wh.", b"-1", b"777", b"9" * 20, bytes(BLOCK)),
    *(base256(-1, 12), base256(2**80, 12), b"GNU.sparse.major", b"SCHILY.xattr."),
]
_FIELDS = (0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 345, 386, 482, 483)
"""Offsets of the fields of a header."""


def corpus() -> list[bytes]:
    """The archives of all conformance cases that are not too large."""
    archives: dict[bytes, None] = {}
    for cases in all_cases().values():
        archives |= dict.fromkeys(raw for case in cases for raw in case.layers)
    return [raw for raw in archives if 0 < len(raw) <= _LARGEST]


def mutated(archives: list[bytes], chance: random.Random) -> bytes:
    """An archive with a few things changed; most checksums are right again."""
    data = bytearray(chance.choice(archives))
    if chance.random() < 0.3:
        other = chance.choice(archives)
        cut = chance.randrange(len(data) // BLOCK + 1) * BLOCK
        data[cut:cut] = other[: chance.randrange(len(other) // BLOCK + 1) * BLOCK]
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        _mutate(data, chance)
    if chance.random() < 0.9:
        _mend_checksums(data)
    return bytes(data)


def _mutate(data: bytearray, chance: random.Random) -> None:
    if not data:
        return
    # Rather in a header's fields than in data.
    place = chance.randrange(len(data))
    if chance.random() < 0.7:
        place = place // BLOCK * BLOCK + chance.choice(_FIELDS)
    match chance.randrange(6):
        case 0:
            data[place : place + 1] = bytes([chance.randrange(256)])
        case 1 | 2:
            piece = chance.choice(_INTERESTING)
            data[place : place + len(piece)] = piece
        case 3:
            piece = chance.choice(_INTERESTING)
            data[place:place] = piece
        case 4:
            del data[place : place + chance.choice((1, 7, BLOCK, 3 * BLOCK))]
        case 5:
            block = place // BLOCK * BLOCK
            data[block:block] = data[block : block + chance.choice((1, 2, 4)) * BLOCK]


def _mend_checksums(data: bytearray) -> None:
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        # A checksum is there, right or wrong: six digits, a NUL and a blank.
        if data[start + 148 : start + 154].isdigit() and data[start + 154 : start + 156] == b"\0 ":
            block = data[start : start + BLOCK]
            total = sum(block) - sum(block[148:156]) + 8 * 32
            data[start + 148 : start + 156] = b"%06o\0 " % total


def packed(raw: bytes, chance: random.Random) -> bytes:
    """The archive as a blob, compressed or not, sometimes with a fault in it."""
    blob = raw
    match chance.randrange(4):
        case 0:
            blob = gzip.compress(raw, compresslevel=1)
        case 1:
            blob = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(raw)
    if blob is not raw and chance.random() < 0.3:
        broken = bytearray(blob)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        blob = bytes(broken[: chance.choice((len(broken), chance.randrange(len(broken))))])
    return blob


def read_all(blob: bytes, tree: MemoryTree) -> int:
    """Apply a blob to a tree in memory; the number of entries.

    Raises:
        LayerProblem: What is defined for archives that break their format.
        BrokenStream: The compressed bytes are damaged.
        StreamTooLong: The stream exceeds its limit.
    """
    descriptor = os.memfd_create("blob")
    try:
        os.write(descriptor, blob)
        os.lseek(descriptor, 0, os.SEEK_SET)
        with LayerStream(BlobReader(descriptor), "sha256", LIMITS.bytes) as stream:
            archive = Archive(stream, LIMITS)
            application = LayerApplication(tree, LIMITS)
            count = 0
            for count, entry in enumerate(archive.entries(), start=1):  # noqa: B007 -- counted
                application.apply(entry, archive)
            stream.drain()
            return count
    finally:
        os.close(descriptor)


def attempts(seed: int, number: int) -> Iterator[tuple[bytes, bytes, bool]]:
    """Try mutated blobs one after the other, on a tree that stays for a while.

    Yields:
        The archive, the blob, and whether it was applied. Everything but ``DEFINED`` is raised,
        with the seed and number of the attempt in a note.
    """
    chance = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    archives = corpus()
    tree = MemoryTree()
    for attempt in range(number):
        if not attempt % 8:
            tree = MemoryTree()
        raw = mutated(archives, chance)
        blob = packed(raw, chance)
        try:
            read_all(blob, tree)
        except DEFINED as error:
            if not str(error) and not isinstance(error, StreamTooLong):
                raise AssertionError("an error that says nothing") from error
            tree = MemoryTree()
            yield raw, blob, False
        except BaseException as error:
            error.add_note(f"seed {seed}, attempt {attempt}")
            raise
        else:
            yield raw, blob, True
