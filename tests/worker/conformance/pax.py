# SPDX-License-Identifier: LGPL-2.1-or-later
"""pax headers, local and global."""

from tests.support.archives import (
    archive,
    entry,
    hardlink,
    header,
    padded,
    pax,
    raw_pax,
    record,
    symlink,
)
from tests.worker.cases import D, F, L, fails, tree
from virtlayer.errors import LayerTooLarge, MalformedLayer
from virtlayer.settings import LayerSettings

_SECOND = 10**9
_GLOBAL = "umoci refuses global headers; Docker and containerd ignore them"

_PAX = [
    tree("path", archive(pax({"path": "d/é"}), entry("x", b"1")), {"d": D, "d/é": F(b"1")}),
    tree("linkpath", archive(pax({"linkpath": "ü" * 80}), symlink("a", "x")), {"a": L("ü" * 80)}),
    tree(
        "size",
        archive(pax({"size": "3"}), header("a"), padded(b"abc"), entry("b")),
        {"a": F(b"abc"), "b": F()},
    ),
    tree(
        "ids",
        archive(pax({"uid": "3000000", "gid": "4294967294"}), entry("a")),
        {"a": F()(uid=3_000_000, gid=2**32 - 2)},
    ),
    tree(
        "times",
        archive(
            pax({"mtime": "1.5"}),
            entry("a"),
            pax({"mtime": "-1.5"}),
            entry("b"),
            pax({"mtime": "1700000000.123456789123"}),
            entry("c"),
            pax({"mtime": "7"}),
            entry("d"),
        ),
        {
            "a": F()(mtime=1_500_000_000),
            "b": F()(mtime=-1_500_000_000),
            "c": F()(mtime=1_700_000_000_123_456_789),
            "d": F()(mtime=7 * _SECOND),
        },
    ),
    tree(
        "hdrcharset",
        archive(pax({"hdrcharset": "BINARY", "path": b"caf\xe9"}), entry("x")),
        {"caf\udce9": F()},
    ),
    tree(
        "charset of a comment",
        archive(pax({"charset": "ISO-IR 8859 1 1998", "comment": b"\xff\n=x"}), entry("a")),
        {"a": F()},
    ),
    tree(
        "what nobody knows",
        archive(pax({"VENDOR.key": "x", "atime": "1", "realtime.any": "y"}), entry("a")),
        {"a": F()},
    ),
    tree(
        "empty values",
        archive(pax({"path": "", "uid": "", "mtime": "", "size": ""}), entry("a", b"1", uid=7)),
        {"a": F(b"1")(uid=7)},
    ),
    tree(
        "the last record counts",
        archive(pax([("path", "a"), ("path", "b")]), entry("x")),
        {"b": F()},
    ),
    tree(
        "numbers with zeros in front",
        archive(
            pax({"size": "0" * 30 + "3", "uid": "0" * 5000 + "7", "mtime": "0" * 30 + "1.5"}),
            header("a"),
            padded(b"abc"),
            entry("b"),
        ),
        {"a": F(b"abc")(uid=7, mtime=1_500_000_000), "b": F()},
    ),
    tree(
        "equals signs and newlines", archive(pax({"path": "a=b\nc"}), entry("x")), {"a=b\nc": F()}
    ),
    tree(
        "two headers before an entry",
        archive(pax({"path": "a"}), pax({"uid": "5"}), entry("x")),
        {"x": F()(uid=5)},
    ),
    tree(
        "Sun's X",
        archive(pax({"path": "a"}, kind=b"X"), entry("x")),
        {"a": F()},
        umoci="Go does not know type X",
    ),
    tree(
        "padding that counts",
        archive(raw_pax(record("path", "a") + bytes(20)), entry("x")),
        {"a": F()},
        umoci="Go wants records to the end",
    ),
    tree(
        "global",
        archive(pax({"uid": "7", "mtime": "1"}, kind=b"g"), entry("a"), entry("b")),
        {"a": F()(uid=7, mtime=_SECOND), "b": F()(uid=7)},
        umoci=_GLOBAL,
    ),
    tree(
        "a local record is stronger",
        archive(pax({"uid": "7"}, kind=b"g"), pax({"uid": "8"}), entry("a"), entry("b")),
        {"a": F()(uid=8), "b": F()(uid=7)},
        umoci=_GLOBAL,
    ),
    tree(
        "a later global header is stronger",
        archive(pax({"uid": "7", "gid": "9"}, kind=b"g"), pax({"uid": "8"}, kind=b"g"), entry("a")),
        {"a": F()(uid=8, gid=9)},
        umoci=_GLOBAL,
    ),
    tree(
        "global names and sizes count for nothing",
        archive(
            pax({"path": "x", "size": "512", "linkpath": "y", "comment": "c"}, kind=b"g"),
            entry("a"),
            symlink("b", "a"),
        ),
        {"a": F(), "b": L("a")},
        umoci=_GLOBAL,
    ),
    fails(
        "no length", archive(raw_pax(b"path=a\n"), entry("x")), MalformedLayer, "without a length"
    ),
    fails(
        "length too small",
        archive(raw_pax(b"5 path=a\n"), entry("x")),
        MalformedLayer,
        "wrong length",
    ),
    fails(
        "length too large",
        archive(raw_pax(b"99 path=a\n"), entry("x")),
        MalformedLayer,
        "wrong length",
    ),
    fails(
        "length of zero",
        archive(raw_pax(b"0 path=a\n"), entry("x")),
        MalformedLayer,
        "wrong length",
    ),
    fails(
        "length of many digits",
        archive(raw_pax(b"1" * 30 + b" path=a\n"), entry("x")),
        MalformedLayer,
        "without a length",
    ),
    fails(
        "no equals sign",
        archive(raw_pax(b"9 path a\n"), entry("x")),
        MalformedLayer,
        "wrong length",
    ),
    fails(
        "no keyword",
        archive(entry("a"), raw_pax(b"5 =a\n"), entry("x")),
        MalformedLayer,
        'wrong length.*after "a"',
    ),
    fails("no newline", archive(raw_pax(b"8 path=ab"), entry("x")), MalformedLayer, "wrong length"),
    fails(
        "a NUL in a keyword",
        archive(entry("a"), pax({"comm\0ent": "x"}), entry("bad")),
        MalformedLayer,
        r'keyword "comm\\x00ent" contains a NUL.*after "a"',
    ),
    fails(
        "a time that is none",
        archive(pax({"mtime": "soon"}), entry("bad")),
        MalformedLayer,
        '"bad".*the time is not a number: "soon"',
    ),
    fails(
        "a time without end",
        archive(pax({"mtime": "0." + "1" * 100}), entry("bad")),
        MalformedLayer,
        '"bad".*time',
        umoci="Go reads nine digits of them",
    ),
    fails(
        "a negative size",
        archive(pax({"size": "-1"}), entry("bad")),
        MalformedLayer,
        '"bad".*size is not a number: "-1"',
    ),
    fails(
        "an id of -1",
        archive(pax({"uid": "-1"}), entry("bad")),
        MalformedLayer,
        '"bad".*uid',
        umoci="chown(2) leaves the owner where it is -1",
    ),
    fails(
        "headers too long",
        archive(entry("a"), pax({"comment": "x" * 3000}), entry("bad")),
        LayerTooLarge,
        '3014 bytes after "a".*2000',
        settings=LayerSettings(header_limit=2000),
        umoci="umoci has other limits",
    ),
    fails(
        "headers too long together",
        archive(*[pax({"comment": "x" * 900})] * 3, entry("bad")),
        LayerTooLarge,
        "limit is 2000",
        settings=LayerSettings(header_limit=2000),
        umoci="umoci has other limits",
    ),
    tree(
        "every entry has headers of its own",
        archive(*[pax({"comment": "x" * 900}) + entry("a")] * 5),
        {"a": F()},
        settings=LayerSettings(header_limit=2000),
    ),
    fails(
        "path too long",
        archive(pax({"path": "a/" * 50}), entry("x")),
        LayerTooLarge,
        '"a/a/.*100 bytes',
        settings=LayerSettings(path_limit=99),
        umoci="umoci has no limits",
    ),
    fails(
        "hard link target too long",
        archive(entry("a"), pax({"linkpath": "./" * 50 + "a"}), hardlink("bad", "x")),
        LayerTooLarge,
        '"bad".*101 bytes',
        settings=LayerSettings(path_limit=99),
        umoci="umoci has no limits",
    ),
]

CASES = _PAX
