# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads in advance what a layer will ask for: one level of all its paths at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from virtlayer.worker.ext4.directories import Directories
from virtlayer.worker.ext4.library import check, ffi, lib
from virtlayer.worker.tree import DIRECTORY

if TYPE_CHECKING:
    from virtlayer.worker.ext4._ext4 import Writer

type _Paths = dict[bytes, _Paths]
"""Names, and the paths below each."""


def read_paths_ahead(writer: Writer, directories: Directories, paths: Iterable[bytes]) -> None:
    """Read the nodes on these paths into memory, up to the first symlink of each.

    Args:
        writer: The file system.
        directories: Those of the file system.
        paths: Of names with slashes between them; missing ones are skipped.

    Raises:
        Ext4Error: A directory cannot be read.
    """
    level = {lib.VL_ROOT: _joined(paths)}
    _read_ahead(writer, [lib.VL_ROOT])
    while level:
        nodes: list[int] = []
        below: dict[int, _Paths] = {}
        for number, names in level.items():
            entries = directories.get(number)
            for name, rest in names.items():
                child = entries.find(name)
                if child is not None:
                    nodes.append(child.node)
                    if rest and child.kind == DIRECTORY:
                        below[child.node] = rest
        _read_ahead(writer, nodes)
        level = below


def _read_ahead(writer: Writer, nodes: list[int]) -> None:
    check(lib.vl_read_ahead(writer, ffi.new("uint32_t[]", nodes), len(nodes)))


def _joined(paths: Iterable[bytes]) -> _Paths:
    joined: _Paths = {}
    for path in paths:
        names = joined
        for name in path.split(b"/"):
            if name not in (b"", b"."):
                names = names.setdefault(name, {})
    return joined
