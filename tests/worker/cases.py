# SPDX-License-Identifier: LGPL-2.1-or-later
"""Conformance cases: archives, and the tree or the error that they must lead to."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import LayerContent, image, layer, write_layout
from tests.support.trees import Node, TreeContent, umoci_tree
from tests.support.volumes import build_at_once, build_volume, tree_of
from virtlayer.errors import VirtlayerError
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

SIZE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Want:
    """Expected properties of a node; None matches anything."""

    kind: str
    content: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime: int | None = None
    size: int | None = None
    attributes: tuple[tuple[bytes, bytes], ...] | None = None
    same_as: str | None = None
    """Another name that must lead to the same file."""

    def __call__(self, *, xattrs: Mapping[str, bytes] | None = None, **facts: Any) -> "Want":
        """The same with more facts."""
        known = {name: getattr(self, name) for name in self.__slots__}
        if xattrs is not None:
            known["attributes"] = tuple(sorted((k.encode(), v) for k, v in xattrs.items()))
        return Want(**known | facts)

    def mismatches(self, path: str, tree: TreeContent) -> Iterable[str]:
        """The differences, one a line."""
        node = tree[os.fsencode(path)]
        for fact in ("kind", "content", "mode", "uid", "gid", "mtime", "size", "attributes"):
            wanted, found = getattr(self, fact), getattr(node, fact)
            if wanted is not None and found not in (wanted, None):
                yield f"{path!r}: {fact}: {found!r}, not {wanted!r}"
        if self.same_as is not None:
            other: Node = tree[os.fsencode(self.same_as)]
            if not node.first_name or node.first_name != other.first_name:
                yield f"{path!r} is not one file with {self.same_as!r}"


def F(content: bytes = b"") -> Want:  # noqa: N802 -- one letter a kind keeps a case on one line
    """A regular file of that content."""
    return Want("-", hashlib.sha256(content).hexdigest(), size=len(content))


def L(target: str) -> Want:  # noqa: N802
    """A symlink."""
    return Want("l", target)


def DEV(kind: str, major: int, minor: int) -> Want:  # noqa: N802
    """A device."""
    return Want(kind, f"{major}:{minor}")


D = Want("d")
PIPE = Want("p")


@dataclass(frozen=True, slots=True)
class Fails:
    """The error that an archive must lead to."""

    kind: type[VirtlayerError]
    match: str


type Outcome = Mapping[str, Want] | Fails


@dataclass(frozen=True, slots=True)
class Case:
    """Archives, lowest layer first, and what they must lead to."""

    name: str
    layers: tuple[bytes, ...]
    outcome: Outcome
    umoci: str | None = ""
    """Why umoci does something else; it must do the same where this is empty. None where that
    depends on the file system that it unpacks to, or takes it too long."""
    settings: LayerSettings = field(default_factory=LayerSettings)
    blobs: tuple[bytes, ...] | None = None
    """The layers' blobs, where they are not just the archives."""

    def contents(self) -> list[LayerContent]:
        """The layers as ``tests.support.volumes`` takes them."""
        return [
            layer(
                raw=raw,
                compression="none",
                blob=None if self.blobs is None else self.blobs[number],
            )
            for number, raw in enumerate(self.layers)
        ]


def tree(
    name: str, layers: bytes | tuple[bytes, ...], want: Mapping[str, Want], **more: Any
) -> Case:
    """A case that must lead to exactly this tree, the root aside."""
    return Case(name, layers if isinstance(layers, tuple) else (layers,), want, **more)


def fails(
    name: str,
    layers: bytes | tuple[bytes, ...],
    kind: type[VirtlayerError],
    match: str,
    **more: Any,
) -> Case:
    """A case that must fail."""
    only = layers if isinstance(layers, tuple) else (layers,)
    return Case(name, only, Fails(kind, match), **more)


async def check(case: Case, worker: LayerWorker, work: Path) -> None:
    """Apply the layers of a case, and compare."""
    volume = work / "volume"
    if isinstance(case.outcome, Fails):
        with pytest.raises(case.outcome.kind, match=case.outcome.match) as caught:
            await build_volume(worker, volume, case.contents(), size=SIZE)
        assert type(caught.value) is case.outcome.kind
        assert "b'" not in str(caught.value), "names and values are shown as text"
        return
    await build_volume(worker, volume, case.contents(), size=SIZE)
    mismatches = _mismatches(case.outcome, tree_of(volume))
    assert mismatches == [], mismatches
    if len(case.layers) > 1:
        await build_at_once(worker, volume, case.contents(), size=SIZE)
        mismatches = _mismatches(case.outcome, tree_of(volume))
        assert mismatches == [], mismatches


def check_umoci(case: Case, work: Path) -> None:
    """umoci does the same, or something else for the reason that the case gives."""
    if case.umoci is None:
        return
    layout = write_layout(work / "layout", {"test": image(_for_umoci(case))})
    difference = _difference_of_umoci(case.outcome, layout, work)
    if case.umoci:
        assert difference, "umoci does the same by now"
    else:
        assert difference == [], difference


def _difference_of_umoci(outcome: Outcome, layout: Path, work: Path) -> list[str]:
    try:
        tree_by_umoci = umoci_tree(layout, "test", work)
    except subprocess.CalledProcessError as error:
        return [] if isinstance(outcome, Fails) else [error.stderr.decode()]
    if isinstance(outcome, Fails):
        return [f"umoci takes it: {list(tree_by_umoci)}"]
    return _mismatches(outcome, tree_by_umoci)


def _for_umoci(case: Case) -> list[LayerContent]:
    return [layer(raw=raw, compression="gzip") for raw in case.layers]


def _mismatches(want: Mapping[str, Want], found: TreeContent) -> list[str]:
    lines = [f"{path!r} is missing" for path in want if os.fsencode(path) not in found]
    paths = {os.fsencode(path) for path in want}
    lines += [
        f"{path!r} is too many: {found[path]}" for path in found if path and path not in paths
    ]
    for path, wanted in want.items():
        if os.fsencode(path) in found:
            lines += wanted.mismatches(path, found)
    return lines
