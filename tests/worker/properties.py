# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random layers, applied by the real worker and by the model."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hypothesis import strategies as st

from tests.support.archives import archive, entry, pax
from tests.support.images import LayerContent, layer
from tests.support.keeper import LocalPrograms
from tests.support.trees import differences
from tests.support.volumes import apply_layer, assert_sound, build_at_once, tree_of
from tests.worker.model import Malformed, Model, Op
from virtlayer.errors import MalformedLayer
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

SIZE = 64 * 1024 * 1024

_NAMES = ["a", "b", "c", "d" * 80, "é"]
_PARTS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4)
_PATHS = _PARTS.map("/".join)
_ODD_PATHS = st.lists(st.sampled_from([*_NAMES, "..", ".", ""]), max_size=5).map("/".join)
_TARGETS = _PATHS | _ODD_PATHS.filter(bool) | _PATHS.map("/{}".format) | st.just("x" * 70)
_DATA = st.sampled_from([b"", b"short", b"B" * 4096, b"C" * 4097, bytes(range(256)) * 500])
_ATTRIBUTES = st.sampled_from([(), ((b"user.a", b"1"),), ((b"trusted.b", b"v" * 1500),)])
_FACTS = {
    "mode": st.sampled_from([0o644, 0o755, 0o4755, 0o1777, 0o000]),
    "uid": st.sampled_from([0, 1000, 70_000]),
    "mtime": st.sampled_from([0, 1_600_000_000, 5_000_000_000]),
}
_FILES = st.builds(Op, st.just("-"), _PATHS, data=_DATA, attributes=_ATTRIBUTES, **_FACTS)
_DIRECTORIES = st.builds(Op, st.just("d"), _PATHS, attributes=_ATTRIBUTES, **_FACTS)
_OPS = st.one_of(
    _FILES,
    _FILES,
    _DIRECTORIES,
    _DIRECTORIES,
    st.builds(Op, st.just("d"), _ODD_PATHS, **_FACTS),
    st.builds(Op, st.just("l"), _PATHS, _TARGETS, mtime=_FACTS["mtime"]),
    st.builds(Op, st.just("h"), _PATHS, _TARGETS, mtime=_FACTS["mtime"]),
    st.builds(Op, st.just("p"), _PATHS, **_FACTS),
    st.builds(Op, st.just("w"), _PATHS),
    st.builds(Op, st.just("w"), _PATHS),
    st.builds(Op, st.just("o"), _PATHS | st.just("")),
)


@dataclass(frozen=True, slots=True)
class RandomLayer:
    """A layer, and whether it contains entries that the model refuses."""

    ops: tuple[Op, ...]
    keeps_malformed: bool


LAYERS = st.lists(
    st.builds(
        RandomLayer,
        st.lists(_OPS, min_size=1, max_size=25).map(tuple),
        st.integers(0, 9).map(lambda number: number == 0),
    ),
    min_size=1,
    max_size=4,
)


def encode(op: Op) -> bytes:
    """An operation as an entry of an archive."""
    head, _, tail = op.path.rpartition("/")
    before = head + "/" if head else ""
    path = {"w": f"{before}.wh.{tail}", "o": f"{op.path}/.wh..wh..opq"}.get(op.kind, op.path)
    records: dict[str, str | bytes] = {"path": path} if len(path.encode()) > 100 else {}
    records |= {"linkpath": op.target} if len(op.target.encode()) > 100 else {}
    records |= {f"SCHILY.xattr.{name.decode()}": value for name, value in op.attributes}
    flag = {"d": b"5", "l": b"2", "h": b"1", "p": b"6"}.get(op.kind, b"0")
    header = entry(
        path if len(path.encode()) <= 100 else "long",
        op.data,
        kind=flag,
        link=op.target if len(op.target.encode()) <= 100 else "long",
        mode=op.mode,
        uid=op.uid,
        mtime=op.mtime,
    )
    return (pax(records) if records else b"") + header


class Bench:
    """A worker, and a volume that random layers are applied to."""

    def __init__(self, directory: Path) -> None:
        self._volume = directory / "volume"
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._worker: LayerWorker | None = None

    def __enter__(self) -> Self:
        starting = LayerWorker.started(LocalPrograms(), LayerSettings())
        self._worker = self._runner.run(self._stack.enter_async_context(starting))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def apply(self, content: LayerContent, *, first: bool) -> None:
        """Apply a layer to the volume, which is made anew for the first one."""
        assert self._worker is not None
        if first:
            self._volume.write_bytes(b"")
            os.truncate(self._volume, SIZE)
        size = SIZE if first else None
        applying = apply_layer(self._worker, self._volume, content, format_size=size)
        self._runner.run(applying)
        assert_sound(self._volume)

    def check(self, layers: Sequence[RandomLayer]) -> None:
        """Check that the worker and the model agree on the layers."""
        model = Model()
        contents: list[LayerContent] = []
        for number, random_layer in enumerate(layers):
            model.layer = number + 1
            kept, malformed = [], False
            for op in random_layer.ops:
                try:
                    model.apply(op)
                except Malformed:
                    if not random_layer.keeps_malformed:
                        continue
                    malformed = True
                kept.append(op)
                if malformed:
                    break
            content = layer(raw=archive(*map(encode, kept)), compression="none")
            with _refused() if malformed else contextlib.nullcontext():
                self.apply(content, first=not number)
            if malformed:
                return
            contents.append(content)
        lines = differences(tree_of(self._volume), model.tree())
        assert lines == [], lines
        if len(contents) > 1:
            assert self._worker is not None
            self._runner.run(build_at_once(self._worker, self._volume, contents, size=SIZE))
            lines = differences(tree_of(self._volume), model.tree())
            assert lines == [], lines


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except MalformedLayer:
        return
    raise AssertionError("the model refuses the layer, the worker takes it")
