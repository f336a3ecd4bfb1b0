# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headers of every kind, v7, ustar, star and GNU, and the numbers in them."""

from tests.support.archives import (
    GNU,
    TIME,
    V7,
    archive,
    base256,
    entry,
    hardlink,
    header,
    long_link,
    long_name,
    octal,
    pax,
    symlink,
)
from tests.worker.cases import (
    DEV,
    D,
    F,
    L,
    fails,
    tree,
)
from virtlayer.errors import MalformedLayer

_SECOND = 10**9
_LONG = "n" * 255
_STAR_TIMES = octal(TIME, 12) * 2
_CHOWN = "chown(2) takes 32 bits of it, and leaves the owner where they are -1"
_NON_UTF8 = b"caf\xe9"


def _checksum_moved(entry: bytes, first: bytes) -> bytes:
    """An entry whose checksum begins one byte later."""
    return entry[:148] + first + entry[148:154] + b"\0" + entry[156:]


_FORMATS = [
    tree("v7", archive(entry("a", b"1", magic=V7)), {"a": F(b"1")}),
    tree("v7 directory", archive(header("d/", kind=b"\0", magic=V7)), {"d": D}),
    tree(
        "v7 directory with a size",
        archive(header("d/", kind=b"\0", magic=V7, size=512), entry("a", b"1")),
        {"d": D, "a": F(b"1")},
    ),
    tree("v7 file", archive(entry("a", b"1", kind=b"\0", magic=V7)), {"a": F(b"1")}),
    tree(
        "v7 links",
        archive(
            entry("a", b"1", magic=V7), hardlink("b", "a", magic=V7), symlink("c", "a", magic=V7)
        ),
        {"a": F(b"1"), "b": F(b"1")(same_as="a"), "c": L("a")},
    ),
    tree(
        "ustar prefix",
        archive(entry("b", b"1", prefix=b"p/q")),
        {"p": D, "p/q": D, "p/q/b": F(b"1")},
    ),
    tree(
        "ustar name of 256 bytes",
        archive(entry("n" * 100, b"1", prefix=b"p" * 155)),
        {"p" * 155: D, "p" * 155 + "/" + "n" * 100: F(b"1")},
    ),
    tree("v7 has no prefix", archive(entry("b", b"1", magic=V7, prefix=b"p")), {"b": F(b"1")}),
    tree(
        "GNU has times where the prefix is",
        archive(entry("b", b"1", magic=GNU, prefix=_STAR_TIMES)),
        {"b": F(b"1")},
    ),
    tree(
        "a prefix in an archive that claims to be GNU's, as Go 1.7 wrote it",
        archive(entry("b", b"1", magic=GNU, prefix=b"p/q")),
        {"p": D, "p/q": D, "p/q/b": F(b"1")},
    ),
    tree(
        "text in the second time of a GNU header",
        archive(entry("b", b"1", magic=GNU, prefix=b"755\0", at_357=b"text")),
        {"755": D, "755/b": F(b"1")},
    ),
    tree(
        "a GNU header whose times are digits has no prefix",
        archive(entry("b", b"1", magic=GNU, prefix=b"755")),
        {"b": F(b"1")},
    ),
    tree(
        "a GNU header with times of nine bytes",
        archive(
            entry("b", b"1", magic=GNU, at_345=base256(2**40, 12), at_357=base256(-(2**63), 12))
        ),
        {"b": F(b"1")},
    ),
    tree(
        "a GNU header with a time that is too large",
        archive(entry("b", b"1", magic=GNU, prefix=b"755\0", at_357=base256(2**63, 12))),
        {"755": D, "755/b": F(b"1")},
    ),
    tree(
        "a prefix that is not ASCII in an archive that claims to be GNU's",
        archive(entry("b", b"1", magic=GNU, prefix=b"p\xe9")),
        {"b": F(b"1")},
    ),
    tree(
        "star has times in the prefix's end",
        archive(
            entry(
                "b",
                b"1",
                prefix=b"p" * 131,
                at_476=_STAR_TIMES,
                trailer=b"tar\0",
            )
        ),
        {"p" * 131: D, "p" * 131 + "/b": F(b"1")},
    ),
    tree(
        "contiguous file",
        archive(entry("a", b"1", kind=b"7")),
        {"a": F(b"1")},
        umoci="umoci does not know type 7",
    ),
    tree("GNU long name", archive(long_name(_LONG), entry("x", b"1", magic=GNU)), {_LONG: F(b"1")}),
    tree(
        "GNU long link",
        archive(long_link("t" * 300), symlink("a", "x", magic=GNU)),
        {"a": L("t" * 300)},
    ),
    tree(
        "GNU long name and link",
        archive(long_link("t" * 300), long_name(_LONG), symlink("x", "y", magic=GNU)),
        {_LONG: L("t" * 300)},
    ),
    tree(
        "the last long name counts",
        archive(long_name("a"), long_name("b"), entry("x", magic=GNU), entry("c")),
        {"b": F(), "c": F()},
    ),
    tree(
        "a long name is stronger than a pax path",
        archive(long_name("a"), pax({"path": "b"}), entry("x", magic=GNU)),
        {"a": F()},
    ),
    tree(
        "GNU incremental directory",
        archive(entry("d", b"Yfile\0\0", kind=b"D", magic=GNU), entry("a", b"1")),
        {"d": D, "a": F(b"1")},
        umoci="umoci does not know type D",
    ),
    tree(
        "GNU volume label",
        archive(header("label", kind=b"V", magic=GNU), entry("a", b"1")),
        {"a": F(b"1")},
        umoci="umoci does not know type V",
    ),
    fails("unknown type", archive(entry("odd", kind=b"Z")), MalformedLayer, '"odd".*unknown type'),
    fails(
        "GNU continued file",
        archive(entry("odd", b"1", kind=b"M")),
        MalformedLayer,
        '"odd".*unknown type',
    ),
]

_NUMBERS = [
    tree(
        "base 256",
        archive(entry("a", b"1", uid=0, at_108=base256(3_000_000, 8), at_136=base256(-1, 12))),
        {"a": F(b"1")(uid=3_000_000, mtime=-_SECOND)},
    ),
    tree(
        "base-256 size",
        archive(header("a", at_124=base256(3, 12)) + b"abc".ljust(512, b"\0")),
        {"a": F(b"abc")},
    ),
    tree(
        "blanks and missing terminators",
        archive(
            entry(
                "a", b"1", mode=0, at_100=b"   644 \0", at_124=b"00000000001 ", at_108=b"00000012"
            )
        ),
        {"a": F(b"1")(mode=0o644, uid=10)},
    ),
    tree(
        "a NUL in front of the size: the data is not a header",
        archive(header("a", at_124=b"\00000001000\0") + header("hidden"), entry("b")),
        {"a": F(header("hidden")), "b": F()},
    ),
    tree(
        "NULs in front of a number",
        archive(
            entry(
                "a",
                b"1",
                at_100=b"\0\0\000640\0",
                at_108=b"\0 \0 12\0\0",
                at_116=b"\00000013 ",
                at_124=b"\0\0\0\0\0\0\0\0\0001\0\0",
                at_136=b"\0 0000000017",
            )
        ),
        {"a": F(b"1")(mode=0o640, uid=10, gid=11, mtime=15 * _SECOND)},
    ),
    tree(
        "a NUL in front of the checksum",
        archive(_checksum_moved(entry("a", b"1"), b"\0")),
        {"a": F(b"1")},
    ),
    tree(
        "a NUL in front of the numbers of a device",
        archive(entry("a", kind=b"3", at_329=b"\000000012", at_337=b"\0\0\0\0\0\00017")),
        {"a": DEV("c", 10, 15)},
    ),
    tree(
        "empty fields",
        archive(
            header(
                "a",
                at_100=bytes(8),
                at_108=bytes(8),
                at_116=b" " * 8,
                at_124=bytes(12),
                at_136=bytes(12),
            )
        ),
        {"a": F()(mode=0, uid=0, gid=0, mtime=0)},
    ),
    tree("every mode bit", archive(entry("a", mode=0o7777)), {"a": F()(mode=0o7777)}),
    tree("type bits in the mode", archive(entry("a", mode=0o100640)), {"a": F()(mode=0o640)}),
    tree(
        "largest ids",
        archive(entry("a", at_108=base256(2**32 - 2, 8), at_116=base256(2**32 - 2, 8))),
        {"a": F()(uid=2**32 - 2, gid=2**32 - 2)},
    ),
    fails(
        "uid -1",
        archive(entry("bad", at_108=base256(-1, 8))),
        MalformedLayer,
        '"bad".*uid -1',
        umoci=_CHOWN,
    ),
    fails(
        "uid 2³²-1",
        archive(entry("bad", at_108=base256(2**32 - 1, 8))),
        MalformedLayer,
        '"bad".*uid',
        umoci=_CHOWN,
    ),
    fails(
        "gid too large",
        archive(entry("bad", at_116=base256(2**40, 8))),
        MalformedLayer,
        '"bad".*gid',
        umoci=_CHOWN,
    ),
    fails(
        "negative size", archive(entry("bad", at_124=base256(-1, 12))), MalformedLayer, "size is -1"
    ),
    fails(
        "sign in a number",
        archive(entry("a"), entry("bad", at_124=b"-0000000001\0")),
        MalformedLayer,
        'size is not.*after "a"',
    ),
    fails(
        "plus in a number",
        archive(entry("bad", at_124=b"+0000000001\0")),
        MalformedLayer,
        "size is not.*at the beginning",
    ),
    fails(
        "digit 8", archive(entry("bad", at_108=b"0000008\0")), MalformedLayer, "uid is not an octal"
    ),
    fails(
        "hexadecimal",
        archive(entry("bad", at_136=b"0x5f5e100  \0")),
        MalformedLayer,
        "mtime is not an octal",
    ),
    tree("signed checksum", archive(entry(_NON_UTF8, b"1", signed=True)), {"caf\udce9": F(b"1")}),
    tree(
        "checksum with a blank first",
        archive(_checksum_moved(entry("a", b"1"), b" ")),
        {"a": F(b"1")},
    ),
    fails(
        "wrong checksum",
        archive(entry("a"), entry("bad", checksum=b"000001\0 ")),
        MalformedLayer,
        'checksum of the header is 1, .*after "a"',
    ),
    fails(
        "no checksum",
        archive(entry("bad", checksum=b" " * 8)),
        MalformedLayer,
        "checksum of the header is 0",
    ),
    fails("text", b"this is no archive".ljust(1024), MalformedLayer, "at the beginning"),
]

CASES = [*_FORMATS, *_NUMBERS]
