# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lower layer for the cases that need one, and what hides parts of it."""

from tests.support.archives import archive, directory, entry, symlink
from tests.worker.cases import Case, D, F, L, Want, tree

BASE = archive(
    directory("d"),
    entry("d/one", b"1"),
    entry("d/two", b"2"),
    directory("d/sub"),
    entry("d/sub/three", b"3"),
    entry("f", b"f"),
    symlink("l", "d"),
    symlink("up", "../../d/sub"),
    symlink("abs", "/d/sub"),
)
BASE_TREE = {
    "d": D,
    "d/one": F(b"1"),
    "d/two": F(b"2"),
    "d/sub": D,
    "d/sub/three": F(b"3"),
    "f": F(b"f"),
    "l": L("d"),
    "up": L("../../d/sub"),
    "abs": L("/d/sub"),
}


def base_but(*gone: str, **more: Want) -> dict[str, Want]:
    return {
        path: want
        for path, want in BASE_TREE.items()
        if not any(path == name or path.startswith(name + "/") for name in gone)
    } | more


def on_base(name: str, top: bytes, want: object, **more: object) -> Case:
    return tree(name, (BASE, top), want, **more)  # type: ignore[arg-type]


def whiteout(path: str, **more: object) -> bytes:
    head, _, tail = path.rpartition("/")
    return entry(f"{head}/.wh.{tail}" if head else f".wh.{tail}", **more)  # type: ignore[arg-type]


def opaque(path: str) -> bytes:
    return entry(f"{path}/.wh..wh..opq")
