# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sparse files in the four ways of GNU tar."""

from tests.support.archives import (
    GNU,
    archive,
    base256,
    entry,
    header,
    octal,
    old_sparse,
    pax,
    sparse_0_0,
    sparse_0_1,
    sparse_1_0,
)
from tests.worker.cases import F, fails, tree
from virtlayer.errors import LayerTooLarge, MalformedLayer
from virtlayer.settings import LayerSettings

_TYPE_S = "umoci does not know type S"

_DATA = b"A" * 100 + b"B" * 5000 + b"C"
_SEGMENTS = [(0, 100), (10_000, 5000), (100_000, 1)]
_CONTENT = (b"A" * 100).ljust(10_000, b"\0") + (b"B" * 5000).ljust(90_000, b"\0") + b"C" + bytes(23)
_MANY = [(number * 8192 + 100, 10) for number in range(300)]
_MANY_DATA = b"".join(b"%010d" % number for number in range(300))
_MANY_CONTENT = b"".join(bytes(100) + b"%010d" % number + bytes(8082) for number in range(300))
_SIZE = len(_CONTENT)


def _old_sparse(*numbers: bytes) -> bytes:
    """A file of ten bytes, one of them stored, with this map."""
    fields = b"".join(numbers)
    return entry("a", b"x", kind=b"S", magic=GNU, at_386=fields, at_483=octal(10, 12))


_SPARSE = [
    tree(
        "old GNU",
        archive(old_sparse("a", _SIZE, _SEGMENTS, _DATA), entry("b")),
        {"a": F(_CONTENT), "b": F()},
        umoci=_TYPE_S,
    ),
    tree(
        "old GNU with more blocks",
        archive(old_sparse("a", len(_MANY_CONTENT), _MANY, _MANY_DATA), entry("b")),
        {"a": F(_MANY_CONTENT), "b": F()},
        umoci=_TYPE_S,
    ),
    tree(
        "GNU 0.0",
        archive(sparse_0_0("a", _SIZE, _SEGMENTS, _DATA), entry("b")),
        {"a": F(_CONTENT), "b": F()},
    ),
    tree(
        "GNU 0.1",
        archive(sparse_0_1("a", _SIZE, _SEGMENTS, _DATA), entry("b")),
        {"a": F(_CONTENT), "b": F()},
    ),
    tree(
        "GNU 0.1 with its version",
        archive(
            sparse_0_1(
                "a", _SIZE, _SEGMENTS, _DATA, **{"GNU.sparse.major": "0", "GNU.sparse.minor": "1"}
            )
        ),
        {"a": F(_CONTENT)},
    ),
    tree(
        "GNU 1.0",
        archive(sparse_1_0("a", _SIZE, _SEGMENTS, _DATA), entry("b")),
        {"a": F(_CONTENT), "b": F()},
    ),
    tree(
        "GNU 1.0 with a long map",
        archive(sparse_1_0("a", len(_MANY_CONTENT), _MANY, _MANY_DATA), entry("b")),
        {"a": F(_MANY_CONTENT), "b": F()},
    ),
    tree(
        "nothing but a hole",
        archive(
            sparse_1_0("a", 10**6, [(10**6, 0)], b""), old_sparse("b", 10**6, [(10**6, 0)], b"")
        ),
        {"a": F(bytes(10**6)), "b": F(bytes(10**6))},
        umoci=_TYPE_S,
    ),
    tree("no hole", archive(sparse_1_0("a", 3, [(0, 3)], b"abc")), {"a": F(b"abc")}),
    tree(
        "empty",
        archive(sparse_1_0("a", 0, [], b""), old_sparse("b", 0, [], b"")),
        {"a": F(), "b": F()},
        umoci=_TYPE_S,
    ),
    tree(
        "segments of no length",
        archive(sparse_0_1("a", 10, [(0, 0), (5, 0), (5, 1), (10, 0)], b"x")),
        {"a": F(bytes(5) + b"x" + bytes(4))},
    ),
    tree(
        "the map of old GNU ends at a segment of NULs",
        archive(_old_sparse(octal(0, 12), octal(1, 12), bytes(24), octal(5, 12), octal(1, 12))),
        {"a": F(b"x" + bytes(9))},
        umoci=_TYPE_S,
    ),
    fails(
        "a NUL in front of an offset",
        archive(_old_sparse(octal(0, 12), octal(0, 12), b"\0" + octal(5, 11), octal(1, 12))),
        MalformedLayer,
        '"a".*begins with a NUL',
    ),
    fails(
        "a NUL in front of a length",
        archive(_old_sparse(octal(5, 12), b"\0" + octal(1, 11))),
        MalformedLayer,
        '"a".*begins with a NUL',
    ),
    fails(
        "segments that overlap",
        archive(sparse_0_1("bad", 100, [(0, 10), (5, 10)], b"x" * 20)),
        MalformedLayer,
        "GNUSparseFile.*overlap",
    ),
    fails(
        "segments that go backwards",
        archive(old_sparse("bad", 100, [(50, 10), (0, 10)], b"x" * 20)),
        MalformedLayer,
        '"bad".*backwards',
    ),
    fails(
        "a map beyond the end",
        archive(old_sparse("bad", 9, [(0, 10)], b"x" * 10)),
        MalformedLayer,
        '"bad".*ends at 10',
    ),
    fails(
        "less data than the map",
        archive(sparse_0_1("bad", 100, [(0, 50)], b"x" * 20)),
        MalformedLayer,
        "50 bytes of data.*20",
    ),
    fails(
        "more data than the map",
        archive(old_sparse("bad", 100, [(0, 5)], b"x" * 20)),
        MalformedLayer,
        '"bad".*5 bytes of data.*20',
    ),
    fails(
        "an odd map",
        archive(sparse_0_1("bad", 100, [], b"", **{"GNU.sparse.map": "0,1,2"})),
        MalformedLayer,
        "without a length",
    ),
    fails(
        "a map of words",
        archive(sparse_0_1("bad", 100, [], b"", **{"GNU.sparse.map": "a,b"})),
        MalformedLayer,
        "not a number",
    ),
    fails(
        "a 1.0 map of words",
        archive(sparse_1_0("bad", 1, [], b"", sparse_map=b"x\n")),
        MalformedLayer,
        "not a number",
    ),
    fails(
        "a 1.0 map without end",
        archive(sparse_1_0("bad", 1, [], b"", sparse_map=b"1" * 2000)),
        MalformedLayer,
        "no length",
    ),
    fails(
        "a 1.0 map with long lines",
        archive(sparse_1_0("bad", 1, [], b"", sparse_map=b"2\n" + b"0" * 5000)),
        MalformedLayer,
        "too long for a number|longer than the data",
    ),
    fails(
        "a 1.0 map longer than the data",
        archive(sparse_1_0("bad", 1, [], b"", sparse_map=b"1000\n")),
        MalformedLayer,
        "longer than the data",
    ),
    fails(
        "more segments than allowed",
        archive(sparse_1_0("bad", 1, [], b"", sparse_map=b"250001\n")),
        LayerTooLarge,
        "more than 250000 segments",
    ),
    fails(
        "more segments in old GNU",
        archive(old_sparse("bad", len(_MANY_CONTENT), _MANY, _MANY_DATA)),
        LayerTooLarge,
        '"bad".*more than 100 segments',
        settings=LayerSettings(segments_limit=100),
    ),
    fails(
        "more segments in GNU 0.1",
        archive(sparse_0_1("bad", len(_MANY_CONTENT), _MANY, _MANY_DATA)),
        LayerTooLarge,
        "more than 100 segments",
        settings=LayerSettings(segments_limit=100),
        umoci="umoci has no limits",
    ),
    fails(
        "negative offset",
        archive(
            header(
                "bad",
                kind=b"S",
                magic=b"ustar  \0",
                at_386=base256(-512, 12) + base256(512, 12),
                at_483=b"1",
            )
        ),
        MalformedLayer,
        '"bad".*backwards',
    ),
    fails(
        "unknown version",
        archive(pax({"GNU.sparse.major": "2", "GNU.sparse.minor": "0"}), entry("bad")),
        MalformedLayer,
        '"bad".*unknown version "2.0"',
        umoci="Go takes it for a plain file",
    ),
    fails(
        "no size",
        archive(pax({"GNU.sparse.map": "0,1"}), entry("bad", b"x")),
        MalformedLayer,
        '"bad".*sparse size',
    ),
    fails(
        "larger than ext4 can",
        archive(sparse_1_0("bad", 2**44 - 4095, [], b"")),
        LayerTooLarge,
        '"bad".*17592186040321 bytes',
        umoci=None,
    ),
    fails(
        "larger than anything",
        archive(sparse_1_0("bad", 2**70, [], b"")),
        MalformedLayer,
        "sparse size",
    ),
    fails(
        "ends within its map",
        old_sparse("bad", len(_MANY_CONTENT), _MANY, b"")[:1024],
        MalformedLayer,
        '"bad".*within its sparse map',
    ),
]


CASES = _SPARSE
