# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names and kinds of entries, devices and times."""

from tests.support.archives import (
    archive,
    base256,
    directory,
    entry,
    hardlink,
    header,
    named,
    pax,
    symlink,
)
from tests.worker.cases import (
    DEV,
    PIPE,
    D,
    F,
    L,
    fails,
    tree,
)
from virtlayer.errors import LayerTooLarge, MalformedLayer

_SECOND = 10**9
_LONG = "n" * 255
_DEEP = "/".join("d" * 49 for _ in range(81)) + "/" + "f" * 45
_MKNOD = "mknod(2) makes another device of it"
_NON_UTF8 = b"caf\xe9"

_NAMES = [
    tree(
        "dots and slashes",
        archive(entry("./a//b/./c", b"1"), entry("/d", b"2")),
        {"a": D, "a/b": D, "a/b/c": F(b"1"), "d": F(b"2")},
    ),
    tree("dot-dot inside", archive(directory("a"), entry("a/../b", b"1")), {"a": D, "b": F(b"1")}),
    tree("dot-dot of what is not there", archive(entry("a/../b", b"1")), {"b": F(b"1")}),
    tree(
        "dot-dot at the root",
        archive(entry("../../b", b"1"), entry("/../c", b"2")),
        {"b": F(b"1"), "c": F(b"2")},
    ),
    tree(
        "root by many names",
        archive(*(directory(name, mode=0o711) for name in ("/", "./", ".", "a/.."))),
        {"": D(mode=0o711)},
    ),
    tree("empty directory name", archive(directory("", mode=0o700)), {"": D(mode=0o700)}),
    fails("empty file name", archive(entry("", b"1")), MalformedLayer, '"".*root'),
    fails("a file as root", archive(entry("./", b"1")), MalformedLayer, '"./".*root'),
    fails(
        "a hard link as root", archive(entry("a"), hardlink(".", "a")), MalformedLayer, '".".*root'
    ),
    tree("a file's name with a slash", archive(entry("a/", b"1")), {"a": F(b"1")}),
    tree(
        "names that are no UTF-8",
        archive(entry(_NON_UTF8, b"1"), entry(b"\xff\xfe", b"2")),
        {"caf\udce9": F(b"1"), "\udcff\udcfe": F(b"2")},
    ),
    tree(
        "control characters",
        archive(entry("a\nb\x1b[1m", b"1"), entry(" ", b"2"), entry("\\", b"3")),
        {"a\nb\x1b[1m": F(b"1"), " ": F(b"2"), "\\": F(b"3")},
    ),
    tree("name of 255 bytes", archive(named(_LONG, b"1")), {_LONG: F(b"1")}),
    fails(
        "name of 256 bytes",
        archive(named("bad" + "n" * 253, b"1")),
        LayerTooLarge,
        '"bad.*256 bytes',
    ),
    fails(
        "directory name of 256 bytes",
        archive(named("b" * 256 + "/x", b"1")),
        LayerTooLarge,
        '"bbb.*256 bytes',
    ),
    tree(
        "path of 4095 bytes",
        archive(named(_DEEP, b"1")),
        {_DEEP[:end]: D for end in range(49, 4050, 50)} | {_DEEP: F(b"1")},
        umoci="umoci gives the whole path to the kernel, which takes it with what is before",
    ),
    fails(
        "path of 4097 bytes",
        archive(named("a/" * 2048 + "b", b"1")),
        LayerTooLarge,
        '"a/a/.*4097 bytes',
    ),
    fails(
        "NUL in a name",
        archive(pax({"path": "bad\0name"}), entry("x")),
        MalformedLayer,
        r'"bad\\x00name".*NUL',
    ),
    fails(
        "NUL in a target",
        archive(pax({"linkpath": "a\0b"}), symlink("bad", "x")),
        MalformedLayer,
        '"bad".*NUL',
    ),
    fails(
        "escape sequences in an error",
        archive(entry("\x1b[31mred\n", kind=b"Z")),
        MalformedLayer,
        r'"\\x1b\[31mred\\x0a"',
    ),
    fails(
        "long name in an error",
        archive(pax({"path": "x" * 4000}), entry("", kind=b"Z")),
        MalformedLayer,
        r'"x{150}\.{3}x{150}"',
    ),
]

_NODES = [
    tree(
        "devices",
        archive(
            entry("null", kind=b"3", device=(1, 3), mode=0o666),
            entry("sda", kind=b"4", device=(8, 0)),
            entry("large", kind=b"3", device=(4095, 0o3777777)),
            entry("pax", kind=b"4", at_329=base256(259, 8), at_337=base256(1048575, 8)),
        ),
        {
            "null": DEV("c", 1, 3)(mode=0o666),
            "sda": DEV("b", 8, 0),
            "large": DEV("c", 4095, 1048575),
            "pax": DEV("b", 259, 1048575),
        },
    ),
    tree("device without numbers", archive(entry("zero", kind=b"3")), {"zero": DEV("c", 0, 0)}),
    fails(
        "major too large",
        archive(entry("bad", kind=b"3", device=(4096, 0))),
        MalformedLayer,
        '"bad".*4096:0',
        umoci=_MKNOD,
    ),
    fails(
        "minor too large",
        archive(entry("bad", kind=b"3", device=(1, 1 << 20))),
        MalformedLayer,
        '"bad".*1:1048576',
        umoci=_MKNOD,
    ),
    fails(
        "negative minor",
        archive(entry("bad", kind=b"4", at_337=base256(-1, 8))),
        MalformedLayer,
        '"bad".*8?:?-1',
        umoci=_MKNOD,
    ),
    tree(
        "a symlink has every mode bit",
        archive(symlink("a", "x", mode=0o600)),
        {"a": L("x")(mode=0o777)},
    ),
    tree("FIFO", archive(entry("p", kind=b"6", mode=0o600)), {"p": PIPE(mode=0o600)}),
    tree(
        "symlink of 4095 bytes",
        archive(pax({"linkpath": "t" * 4095}), symlink("a", "x")),
        {"a": L("t" * 4095)},
    ),
    fails(
        "symlink of 4096 bytes",
        archive(pax({"linkpath": "t" * 4096}), symlink("bad", "x")),
        LayerTooLarge,
        '"bad".*4096 bytes',
    ),
    fails("symlink to nothing", archive(symlink("bad", "")), MalformedLayer, '"bad".*empty target'),
    tree(
        "symlinks are not judged",
        archive(symlink("a", "/../../etc"), symlink("b", "b"), symlink("c", "//x/")),
        {"a": L("/../../etc"), "b": L("b"), "c": L("//x/")},
    ),
    tree(
        "what is no file has no data",
        archive(
            header("d", kind=b"5", size=512),
            header("l", kind=b"2", link="d", size=512),
            header("p", kind=b"6", size=9),
            header("c", kind=b"3", size=512, device=(1, 3)),
            header("h", kind=b"1", link="p", size=512),
        ),
        {"d": D, "l": L("d"), "p": PIPE, "c": DEV("c", 1, 3), "h": PIPE(same_as="p")},
    ),
    tree(
        "times",
        archive(
            entry("epoch", mtime=0),
            entry("before", at_136=base256(-(2**31), 12)),
            entry("after 2038", mtime=2**31),
            entry("far", at_136=base256(9_000_000_000, 12)),
        ),
        {
            "epoch": F()(mtime=0),
            "before": F()(mtime=-(2**31) * _SECOND),
            "after 2038": F()(mtime=2**31 * _SECOND),
            "far": F()(mtime=9_000_000_000 * _SECOND),
        },
    ),
    tree(
        "times that ext4 or Go cannot say",
        archive(
            entry("last", at_136=base256(2**34 - 2**31 - 1, 12)),
            entry("early", at_136=base256(-(2**33), 12)),
            entry("late", at_136=base256(2**60, 12)),
        ),
        {
            "last": F()(mtime=(2**34 - 2**31 - 1) * _SECOND),
            "early": F()(mtime=-(2**31) * _SECOND),
            "late": F()(mtime=(2**34 - 2**31 - 1) * _SECOND),
        },
        umoci="Go's times wrap around",
    ),
]

CASES = [*_NAMES, *_NODES]
