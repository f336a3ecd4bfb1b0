# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hard links (docs/layers.md has the choices)."""

from tests.support.archives import archive, directory, entry, hardlink, symlink
from tests.worker.base import BASE, base_but, on_base, whiteout
from tests.worker.cases import (
    DEV,
    PIPE,
    D,
    F,
    L,
    fails,
    tree,
)
from virtlayer.errors import MalformedLayer

_LINKS = [
    tree(
        "hard links to everything but directories",
        archive(
            entry("f", b"1"),
            symlink("s", "f"),
            entry("c", kind=b"3", device=(1, 3)),
            entry("p", kind=b"6"),
            *(hardlink(f"{name}2", name) for name in "fscp"),
        ),
        {
            "f": F(b"1"),
            "s": L("f"),
            "c": DEV("c", 1, 3),
            "p": PIPE,
            "f2": F(b"1")(same_as="f"),
            "s2": L("f")(same_as="s"),
            "c2": DEV("c", 1, 3)(same_as="c"),
            "p2": PIPE(same_as="p"),
        },
    ),
    tree(
        "hard link to a hard link",
        archive(entry("a", b"1"), hardlink("b", "a"), hardlink("c", "b")),
        {"a": F(b"1"), "b": F(b"1"), "c": F(b"1")(same_as="a")},
    ),
    tree(
        "hard link's own metadata counts for nothing",
        archive(
            entry("a", b"1", mode=0o600, uid=5), hardlink("b", "a", mode=0o777, uid=6, mtime=1)
        ),
        {"a": F(b"1")(mode=0o600, uid=5), "b": F(b"1")(same_as="a")},
    ),
    tree(
        "hard link targets by many names",
        archive(
            directory("d"),
            entry("d/a", b"1"),
            hardlink("b", "/d/a"),
            hardlink("c", "./d/../d//a"),
            hardlink("e", "../../d/a"),
        ),
        {
            "d": D,
            "d/a": F(b"1"),
            "b": F(b"1")(same_as="d/a"),
            "c": F(b"1")(same_as="d/a"),
            "e": F(b"1")(same_as="d/a"),
        },
    ),
    on_base(
        "hard link to a lower layer",
        archive(hardlink("new", "d/one")),
        base_but() | {"new": F(b"1")(same_as="d/one")},
    ),
    on_base(
        "hard link through symlinks",
        archive(hardlink("new", "up/three"), hardlink("new2", "abs/three")),
        base_but()
        | {"new": F(b"3")(same_as="d/sub/three"), "new2": F(b"3")(same_as="d/sub/three")},
    ),
    on_base(
        "hard link does not follow its target",
        archive(hardlink("new", "l")),
        base_but() | {"new": L("d")(same_as="l")},
    ),
    on_base(
        "hard link over a file",
        archive(hardlink("f", "d/one")),
        base_but() | {"f": F(b"1")(same_as="d/one")},
    ),
    on_base(
        "hard link over a directory",
        archive(hardlink("d/sub", "d/one")),
        base_but("d/sub") | {"d/sub": F(b"1")(same_as="d/one")},
    ),
    on_base(
        "hard link to itself",
        archive(hardlink("f", "f")),
        base_but(),
        umoci="umoci removes the file first",
    ),
    tree(
        "replacing one of two names",
        (archive(entry("a", b"1"), hardlink("b", "a")), archive(entry("b", b"2"))),
        {"a": F(b"1"), "b": F(b"2")},
    ),
    tree(
        "hard link to what the entry replaces",
        archive(entry("a", b"1"), hardlink("b", "a"), entry("a", b"2")),
        {"a": F(b"2"), "b": F(b"1")},
    ),
    fails(
        "hard link to nothing",
        archive(hardlink("bad", "none")),
        MalformedLayer,
        '"bad".*"none", which does not exist',
    ),
    fails(
        "hard link to no name", archive(hardlink("bad", "")), MalformedLayer, '"bad".*directory ""'
    ),
    fails(
        "hard link to a later file",
        archive(hardlink("bad", "later"), entry("later")),
        MalformedLayer,
        '"bad".*"later", which does not exist',
    ),
    fails(
        "hard link to a deleted file",
        (BASE, archive(whiteout("f"), hardlink("bad", "f"))),
        MalformedLayer,
        '"bad".*"f", which does not exist',
    ),
    fails(
        "hard link to a directory",
        (BASE, archive(hardlink("bad", "d"))),
        MalformedLayer,
        '"bad".*directory "d"',
    ),
    fails(
        "hard link to the root",
        (BASE, archive(hardlink("bad", "/"))),
        MalformedLayer,
        '"bad".*directory "/"',
    ),
    fails(
        "hard link out of the image",
        archive(hardlink("bad", "../../../etc/passwd")),
        MalformedLayer,
        '"bad".*which does not exist',
    ),
    fails(
        "hard link through a symlink out of the image",
        archive(symlink("out", "/etc"), hardlink("bad", "out/passwd")),
        MalformedLayer,
        '"bad".*which does not exist',
    ),
    fails(
        "hard link to what it would replace",
        (BASE, archive(hardlink("d", "d/one"))),
        MalformedLayer,
        '"d".*"d/one", which does not exist',
    ),
    fails(
        "hard link below a file",
        (BASE, archive(hardlink("bad", "f/one"))),
        MalformedLayer,
        '"bad".*"f/one", which does not exist',
    ),
]

CASES = _LINKS
