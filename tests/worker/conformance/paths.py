# SPDX-License-Identifier: LGPL-2.1-or-later
"""Entries that replace others, and the components of their paths."""

from tests.support.archives import archive, directory, entry, pax, symlink
from tests.worker.base import BASE, base_but, on_base, whiteout
from tests.worker.cases import (
    D,
    F,
    L,
    fails,
    tree,
)
from virtlayer.errors import LayerTooLarge, MalformedLayer
from virtlayer.settings import LayerSettings

_PATHS = [
    tree(
        "missing parents",
        archive(entry("a/b/c", b"1", uid=5, mode=0o600, mtime=77)),
        {
            "a": D(mode=0o755, uid=0, gid=0),
            "a/b": D(mode=0o755, uid=0, gid=0),
            "a/b/c": F(b"1")(uid=5),
        },
    ),
    tree(
        "parents after their content",
        archive(entry("a/b", b"1"), directory("a", mode=0o700, uid=7)),
        {"a": D(mode=0o700, uid=7), "a/b": F(b"1")},
    ),
    on_base(
        "an old directory again",
        archive(directory("d", mode=0o700, uid=7)),
        base_but() | {"d": D(mode=0o700, uid=7)},
    ),
    on_base(
        "a file over a file",
        archive(entry("f", b"new", mode=0o600)),
        base_but() | {"f": F(b"new")(mode=0o600)},
    ),
    on_base(
        "a file over a directory", archive(entry("d", b"new")), base_but("d") | {"d": F(b"new")}
    ),
    on_base(
        "a directory over a file",
        archive(directory("f"), entry("f/x")),
        base_but() | {"f": D, "f/x": F()},
    ),
    on_base(
        "a directory over a symlink to one",
        archive(directory("l"), entry("l/x")),
        base_but() | {"l": D, "l/x": F()},
    ),
    on_base(
        "a symlink over a directory", archive(symlink("d", "f")), base_but("d") | {"d": L("f")}
    ),
    on_base("a file over a symlink", archive(entry("l", b"new")), base_but() | {"l": F(b"new")}),
    tree(
        "an entry twice",
        archive(entry("a", b"1"), entry("a", b"2", mode=0o600)),
        {"a": F(b"2")(mode=0o600)},
    ),
    tree(
        "a directory, a file, a directory",
        archive(directory("a"), entry("a/x"), entry("a", b"1"), directory("a"), entry("a/y")),
        {"a": D, "a/y": F()},
    ),
    on_base("through a symlink", archive(entry("l/new", b"n")), base_but() | {"d/new": F(b"n")}),
    on_base(
        "through a symlink that climbs",
        archive(entry("up/new", b"n")),
        base_but() | {"d/sub/new": F(b"n")},
    ),
    on_base(
        "through an absolute symlink",
        archive(entry("abs/new", b"n")),
        base_but() | {"d/sub/new": F(b"n")},
    ),
    on_base(
        "dot-dot after a symlink is lexical",
        archive(entry("abs/../new", b"n")),
        base_but() | {"new": F(b"n")},
    ),
    tree(
        "through a symlink of the same layer",
        archive(directory("d"), symlink("l", "d"), entry("l/x", b"1")),
        {"d": D, "l": L("d"), "d/x": F(b"1")},
    ),
    tree(
        "through a symlink to nothing",
        archive(symlink("l", "/etc/none"), entry("l/x", b"1")),
        {"l": L("/etc/none"), "etc": D, "etc/none": D, "etc/none/x": F(b"1")},
    ),
    tree(
        "through a symlink out of the image",
        archive(symlink("l", "../../../../tmp"), entry("l/x", b"1")),
        {"l": L("../../../../tmp"), "tmp": D, "tmp/x": F(b"1")},
    ),
    tree(
        "a symlink swapped between layers",
        (
            archive(directory("a"), entry("a/x", b"1")),
            archive(symlink("a", "/etc")),
            archive(entry("a/passwd", b"2")),
        ),
        {"a": L("/etc"), "etc": D, "etc/passwd": F(b"2")},
    ),
    tree(
        "a directory again where a symlink was",
        (
            archive(directory("t"), symlink("a", "t")),
            archive(whiteout("a"), directory("a"), entry("a/x", b"1")),
        ),
        {"t": D, "a": D, "a/x": F(b"1")},
    ),
    tree(
        "40 symlinks",
        archive(
            directory("s0"),
            *(symlink(f"s{n}", f"s{n - 1}") for n in range(1, 41)),
            entry("s40/x", b"1"),
        ),
        {"s0": D, "s0/x": F(b"1")} | {f"s{n}": L(f"s{n - 1}") for n in range(1, 41)},
    ),
    fails(
        "41 symlinks",
        archive(
            directory("s0"),
            *(symlink(f"s{n}", f"s{n - 1}") for n in range(1, 42)),
            entry("s41/bad"),
        ),
        MalformedLayer,
        '"s41/bad".*loop of symlinks',
        umoci="umoci follows 255",
    ),
    fails(
        "a loop of symlinks",
        archive(symlink("a", "b"), symlink("b", "a"), entry("a/bad")),
        MalformedLayer,
        '"a/bad".*loop of symlinks',
    ),
    fails(
        "a symlink to itself",
        archive(symlink("a", "a/a"), entry("a/bad")),
        MalformedLayer,
        '"a/bad".*loop of symlinks',
    ),
    fails(
        "long symlinks",
        archive(
            *(pax({"linkpath": "./" * 1500 + "."}) + symlink(f"s{n}", "x") for n in range(2)),
            entry("s0/s1/bad"),
        ),
        MalformedLayer,
        '"s0/s1/bad".*too long',
        umoci="umoci follows them",
    ),
    fails(
        "below a file",
        (BASE, archive(entry("f/bad"))),
        MalformedLayer,
        '"f/bad".*"f" in its path is not a directory',
    ),
    fails(
        "below a device",
        archive(entry("c", kind=b"3", device=(1, 3)), entry("c/bad")),
        MalformedLayer,
        '"c/bad".*"c" in its path',
    ),
    fails(
        "below a symlink to a file",
        archive(entry("a"), symlink("l", "a"), entry("l/bad")),
        MalformedLayer,
        '"l/bad".*"a" in its path',
    ),
    fails(
        "too deep",
        archive(
            *(
                pax({"path": "l/" * number + "a/" * 40 + "b"})
                + entry("x")
                + pax({"linkpath": "/" + "a/" * 40})
                + symlink("l", "x")
                for number in range(2)
            )
        ),
        LayerTooLarge,
        '"l/a/a/.*below 5. directories',
        settings=LayerSettings(path_limit=100),
        umoci="umoci has no limits",
    ),
]

CASES = _PATHS
