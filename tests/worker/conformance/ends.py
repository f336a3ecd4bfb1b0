# SPDX-License-Identifier: LGPL-2.1-or-later
"""Truncated archives, trailing data, and compression."""

import bz2
import gzip
import lzma

import zstandard

from tests.support.archives import (
    END,
    archive,
    base256,
    entry,
    pax,
)
from tests.worker.cases import (
    Case,
    F,
    fails,
    tree,
)
from virtlayer.errors import DigestMismatch, LayerTooLarge, MalformedLayer
from virtlayer.settings import LayerSettings


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _with_gzip_fields(blob: bytes) -> bytes:
    """RFC 1952, section 2.3: FEXTRA, FNAME and FCOMMENT."""
    return blob[:3] + b"\x1c" + blob[4:10] + b"\x04\x00abcd" + b"name\0" + b"comment\0" + blob[10:]


_ENDS = [
    tree("nothing at all", b"", {}),
    tree("only the end", END, {}),
    tree("no end", entry("a", b"1"), {"a": F(b"1")}),
    tree("half an end", entry("a", b"1") + bytes(512), {"a": F(b"1")}),
    tree("a long end", entry("a", b"1") + bytes(10240), {"a": F(b"1")}),
    tree("garbage after the end", archive(entry("a", b"1")) + b"garbage" * 100, {"a": F(b"1")}),
    tree(
        "an archive after the end", archive(entry("a", b"1")) + archive(entry("b")), {"a": F(b"1")}
    ),
    tree("a name that begins like bzip2", archive(entry("BZh91AY", b"1")), {"BZh91AY": F(b"1")}),
    tree(
        "an extended header and no entry",
        archive(entry("a", b"1"), pax({"path": "b"})),
        {"a": F(b"1")},
    ),
    fails(
        "one block of zeroes in the middle",
        entry("a") + bytes(512) + archive(entry("b")),
        MalformedLayer,
        'zeroes after "a"',
    ),
    fails(
        "ends within a header",
        archive(entry("a"))[:700],
        MalformedLayer,
        'within a header after "a"',
    ),
    fails(
        "ends within data",
        entry("bad", b"1" * 2000)[:1500],
        MalformedLayer,
        '"bad".*ends within the data',
    ),
    tree(
        "ends before its padding",
        entry("a", b"1" * 700)[: 512 + 700],
        {"a": F(b"1" * 700)},
    ),
    fails(
        "ends within an extended header",
        entry("a") + pax({"path": "b" * 600})[:700],
        MalformedLayer,
        'extended header after "a"',
    ),
    fails(
        "a size that lies",
        archive(entry("bad", b"1", size=10**6)),
        MalformedLayer,
        '"bad".*ends within the data',
    ),
    fails(
        "a size beyond ext4",
        archive(entry("bad", at_124=base256(2**50, 12))),
        LayerTooLarge,
        '"bad".*1125899906842624 bytes',
    ),
    fails(
        "a size beyond everything",
        archive(entry("bad", at_124=base256(2**90, 12))),
        LayerTooLarge,
        '"bad"',
    ),
    fails(
        "too many entries",
        archive(entry("a"), entry("b"), entry("c")),
        LayerTooLarge,
        "2 entries",
        settings=LayerSettings(entries_limit=2),
        umoci="umoci has no limits",
    ),
    fails(
        "too many bytes",
        archive(entry("a", bytes(4096))),
        LayerTooLarge,
        "layer.bytes-limit",
        settings=LayerSettings(bytes_limit=2048),
        umoci="umoci has no limits",
    ),
]

_ONE = archive(entry("a", b"1" * 50_000))
_TREE = {"a": F(b"1" * 50_000)}
_MEMBERS = b"".join(
    gzip.compress(_ONE[at : at + 7000], mtime=0) for at in range(0, len(_ONE), 7000)
)
_FRAMES = [_zstd(_ONE[at : at + 7000]) for at in range(0, len(_ONE), 7000)]
_SKIPPABLE = b"\x5f\x2a\x4d\x18" + (300).to_bytes(4, "little") + b"s" * 300


def _packed(name: str, blob: bytes) -> Case:
    return tree(name, _ONE, _TREE, blobs=(blob,), umoci=None)


def _unpackable(name: str, blob: bytes, match: str) -> Case:
    return fails(name, _ONE, MalformedLayer, match, blobs=(blob,), umoci=None)


# The media type says that none is compressed.
_COMPRESSED = [
    _packed("gzip", gzip.compress(_ONE)),
    _packed("gzip with a name and a comment", _with_gzip_fields(gzip.compress(_ONE))),
    _packed("gzip in members", _MEMBERS),
    _packed(
        "gzip with empty members", gzip.compress(b"") * 5000 + _MEMBERS + gzip.compress(b"") * 5000
    ),
    _packed("stored gzip", gzip.compress(_ONE, compresslevel=0)),
    _packed("zstd", _zstd(_ONE)),
    _packed("zstd in frames", b"".join(_FRAMES)),
    _packed("zstd with frames to skip", _SKIPPABLE + _SKIPPABLE.join(_FRAMES) + _SKIPPABLE),
    _packed("zstd with empty frames", _zstd(b"") * 5000 + _zstd(_ONE)),
    _unpackable("gzip that ends early", gzip.compress(_ONE)[:-20], "ends too early"),
    _unpackable("gzip without its end", gzip.compress(_ONE)[:-8], "ends too early"),
    _unpackable(
        "gzip with a wrong checksum", gzip.compress(_ONE)[:-8] + bytes(8), "gzip data is damaged"
    ),
    _unpackable("gzip and garbage", gzip.compress(_ONE) + b"garbage" * 9, "gzip data is damaged"),
    _unpackable("gzip and zeroes", gzip.compress(_ONE) + bytes(512), "gzip data is damaged"),
    _unpackable("nothing but gzip's first bytes", b"\x1f\x8b", "ends too early"),
    _unpackable("gzip of another method", b"\x1f\x8b\x07" + bytes(40), "gzip data is damaged"),
    _unpackable("zstd with a wrong checksum", _zstd(_ONE)[:-1] + b"\0", "zstd data is damaged"),
    _unpackable("zstd and garbage", _zstd(_ONE) + b"garbage", "zstd data is damaged"),
    _unpackable(
        "zstd with a window of 1 GiB",
        b"\x28\xb5\x2f\xfd\x00\xa0" + bytes(40),
        "zstd data is damaged",
    ),
    _unpackable("xz", lzma.compress(_ONE), "unsupported compression xz"),
    _unpackable("bzip2", bz2.compress(_ONE), "unsupported compression bzip2"),
    _unpackable("empty bzip2", bz2.compress(b""), "unsupported compression bzip2"),
    fails(
        "zstd that ends early",
        _ONE,
        MalformedLayer,
        '"a".*ends within the data',
        blobs=(_zstd(_ONE[:30_000])[:-4],),
        umoci=None,
    ),
    fails(
        "another archive",
        _ONE,
        DigestMismatch,
        "unpacks to sha256:",
        blobs=(gzip.compress(archive(entry("b"))),),
        umoci=None,
    ),
]

CASES = [*_ENDS, *_COMPRESSED]
