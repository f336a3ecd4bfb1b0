# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whiteouts and opaque directories (OCI image-spec, "layer.md"; docs/layers.md has the choices)."""

from tests.support.archives import archive, directory, entry, hardlink, pax
from tests.worker.base import BASE, base_but, on_base, opaque, whiteout
from tests.worker.cases import (
    D,
    F,
    fails,
    tree,
)
from virtlayer.errors import MalformedLayer

_AUFS = "umoci does not know the metadata of aufs"
_ANY = "umoci takes any name"

_WHITEOUTS = [
    on_base(
        "whiteout of a file", archive(whiteout("d/one"), whiteout("f")), base_but("d/one", "f")
    ),
    on_base("whiteout of a directory", archive(whiteout("d/sub")), base_but("d/sub")),
    on_base("whiteout of a symlink", archive(whiteout("l")), base_but("l")),
    on_base("whiteout of nothing", archive(whiteout("d/none"), whiteout("none/none")), base_but()),
    on_base("whiteout below a file", archive(whiteout("f/none")), base_but()),
    on_base(
        "whiteout and then a directory",
        archive(whiteout("d"), directory("d"), entry("d/new", b"n")),
        base_but("d") | {"d": D, "d/new": F(b"n")},
    ),
    on_base(
        "whiteout and then a file",
        archive(whiteout("d"), entry("d", b"n")),
        base_but("d") | {"d": F(b"n")},
    ),
    on_base(
        "whiteout after the directory is there again",
        archive(directory("d", mode=0o711), entry("d/new", b"n"), whiteout("d")),
        base_but("d") | {"d": D(mode=0o711), "d/new": F(b"n")},
    ),
    on_base(
        "whiteout after new content of an old directory",
        archive(entry("d/sub/new", b"n"), whiteout("d")),
        base_but("d") | {"d": D, "d/sub": D, "d/sub/new": F(b"n")},
    ),
    on_base(
        "whiteout after the file is there again",
        archive(entry("f", b"n"), whiteout("f")),
        base_but() | {"f": F(b"n")},
    ),
    on_base(
        "whiteout twice",
        archive(whiteout("f"), whiteout("f"), whiteout("d"), whiteout("d")),
        base_but("f", "d"),
    ),
    on_base(
        "whiteout with content",
        archive(whiteout("f", data=b"content"), entry("g")),
        base_but("f") | {"g": F()},
    ),
    on_base("whiteout that is a directory", archive(whiteout("f", kind=b"5")), base_but("f")),
    on_base("whiteout by dots", archive(entry("./d/../.wh.f")), base_but("f")),
    on_base("whiteout that climbs", archive(entry("../../.wh.f")), base_but("f")),
    on_base("whiteout through a symlink", archive(whiteout("l/one")), base_but("d/one")),
    on_base(
        "whiteout through a symlink that climbs",
        archive(whiteout("up/three")),
        base_but("d/sub/three"),
    ),
    on_base("whiteout does not follow", archive(whiteout("l")), base_but("l")),
    on_base("whiteout of what a higher layer made", archive(entry("g")), base_but() | {"g": F()}),
    tree(
        "whiteout of a name of 255 bytes",
        (
            archive(pax({"path": "n" * 255}), entry("x")),
            archive(pax({"path": ".wh." + "n" * 255}), entry("x")),
        ),
        {},
    ),
    tree(
        "whiteout in the first layer",
        archive(whiteout("a"), entry("a", b"1"), whiteout("a")),
        {"a": F(b"1")},
    ),
    tree(
        "whiteout of one of two names",
        (archive(entry("a", b"1"), hardlink("b", "a")), archive(whiteout("a"))),
        {"b": F(b"1")},
    ),
    tree(
        "and back in a third layer",
        (BASE, archive(whiteout("d")), archive(directory("d"), entry("d/new", b"n"))),
        base_but("d") | {"d": D, "d/new": F(b"n")},
    ),
    fails(
        "whiteout of dot",
        (BASE, archive(entry(".wh.."))),
        MalformedLayer,
        r'".wh..".*without a file name',
    ),
    fails(
        "whiteout of dot-dot",
        (BASE, archive(entry("d/.wh..."))),
        MalformedLayer,
        r'"d/.wh...".*without a file name',
    ),
    fails(
        "whiteout of no name",
        (BASE, archive(entry("d/.wh."))),
        MalformedLayer,
        r'"d/.wh.".*without a file name',
    ),
    fails(
        "a path through a whiteout",
        (BASE, archive(entry(".wh.d/one"))),
        MalformedLayer,
        r'".wh.d/one".*whiteout ".wh.d"',
        umoci=_ANY,
    ),
]

_OPAQUES = [
    on_base(
        "opaque",
        archive(directory("d", mode=0o711), opaque("d"), entry("d/new", b"n")),
        base_but("d") | {"d": D(mode=0o711), "d/new": F(b"n")},
    ),
    on_base(
        "opaque after its new content",
        archive(entry("d/new", b"n"), entry("d/one", b"n"), opaque("d")),
        base_but("d") | {"d": D, "d/new": F(b"n"), "d/one": F(b"n")},
    ),
    on_base(
        "opaque after new content further below",
        archive(entry("d/sub/new", b"n"), opaque("d")),
        base_but("d") | {"d": D, "d/sub": D, "d/sub/new": F(b"n")},
    ),
    on_base(
        "opaque twice",
        archive(opaque("d"), entry("d/new", b"n"), opaque("d")),
        base_but("d") | {"d": D, "d/new": F(b"n")},
    ),
    on_base(
        "opaque, new content, and a whiteout of the directory",
        archive(opaque("d"), entry("d/new", b"n"), whiteout("d")),
        base_but("d") | {"d": D, "d/new": F(b"n")},
    ),
    on_base(
        "opaque, new content further below, and an opaque root",
        archive(opaque("d"), entry("d/sub/new", b"n"), entry(".wh..wh..opq")),
        {"d": D, "d/sub": D, "d/sub/new": F(b"n")},
    ),
    on_base(
        "opaque, and an opaque root",
        archive(opaque("d"), entry(".wh..wh..opq"), entry("new", b"n")),
        {"new": F(b"n")},
    ),
    on_base("opaque root", archive(entry("new", b"n"), entry(".wh..wh..opq")), {"new": F(b"n")}),
    on_base("opaque through a symlink", archive(opaque("l")), base_but("d") | {"d": D}),
    on_base("opaque of nothing", archive(opaque("none")), base_but()),
    on_base("opaque of a file", archive(opaque("f")), base_but()),
    tree(
        "opaque of a new directory",
        archive(directory("a"), entry("a/b", b"1"), opaque("a")),
        {"a": D, "a/b": F(b"1")},
    ),
    on_base(
        "opaque and a hard link to what it hides",
        archive(hardlink("d/kept", "d/one"), opaque("d")),
        base_but("d") | {"d": D, "d/kept": F(b"1")},
    ),
    on_base(
        "aufs metadata",
        archive(
            entry(".wh..wh.aufs"),
            directory(".wh..wh.plnk"),
            entry(".wh..wh.plnk/1.2", b"x"),
            directory(".wh..wh.orph", mode=0o700),
            entry("d/.wh..wh.x/y/z", b"x"),
        ),
        base_but(),
        umoci=_AUFS,
    ),
]


CASES = [*_WHITEOUTS, *_OPAQUES]
