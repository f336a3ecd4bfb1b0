# SPDX-License-Identifier: LGPL-2.1-or-later
"""rbd(8): imports a raw file, after a loop mount and tar too; clones a snapshot; adds a layer."""

import contextlib
import statistics
import struct
from collections.abc import Iterator
from pathlib import Path

from bench.commands import stopwatch
from bench.inputs import Image
from bench.peers.loop import new_file_system
from bench.rbd.cluster import SIZE, OnCluster
from bench.result import Finished

_TIMES = 7
_LAYERS = 5
_SNAPSHOT = "layer"


class Import(OnCluster):
    """``rbd import`` of the bytes that virtlayer has written."""

    title = "rbd import of the same bytes"

    @contextlib.contextmanager
    def __call__(self, _image: Image, _directory: Path) -> Iterator[Finished]:
        """Import an image."""
        cluster = self._cluster
        with cluster.pool() as pool:
            place = f"{pool.name}/image"
            with stopwatch() as watch:
                cluster.ceph.rbd("import", "--no-progress", str(cluster.raw), place)
            yield Finished(watch.seconds, 0, lambda: cluster.tree(place))


class LoopAndImport(OnCluster):
    """What a script would do; it takes part with images of one layer."""

    title = "skopeo copy + loop mount + tar + rbd import"

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make an RBD image of an image."""
        cluster = self._cluster
        with cluster.pool() as pool:
            place = f"{pool.name}/image"
            with stopwatch() as watch:
                raw = new_file_system(cluster.inputs, image, directory, SIZE)
                cluster.ceph.rbd("import", "--no-progress", str(raw), place)
            yield Finished(watch.seconds, 0, lambda: cluster.tree(place))


class Layer(OnCluster):
    """A clone with a write of 10 KB and a snapshot; the time is the median of several.

    Each is a clone of the one before. ``rbd import-diff`` writes and makes the snapshot.
    """

    title = "rbd clone + rbd import-diff"

    @contextlib.contextmanager
    def __call__(self, _image: Image, directory: Path) -> Iterator[Finished]:
        """Make layers."""
        diff = directory / "diff"
        diff.write_bytes(_diff(bytes(range(250)) * 40))
        with self._cluster.pool() as made:
            pool, rbd = made.name, self._cluster.ceph.rbd
            rbd("create", "--size", f"{SIZE}B", f"{pool}/layer-0")
            rbd("snap", "create", "--no-progress", f"{pool}/layer-0@{_SNAPSHOT}")
            seconds = []
            for number in range(_LAYERS):
                below, new = f"{pool}/layer-{number}@{_SNAPSHOT}", f"{pool}/layer-{number + 1}"
                with stopwatch() as watch:
                    rbd("clone", below, new)
                    rbd("import-diff", "--no-progress", str(diff), new)
                seconds.append(watch.seconds)
            yield Finished(statistics.median(seconds), 0, None)


class Clone(OnCluster):
    """``rbd clone`` of a snapshot; the time is the median of several."""

    title = "rbd clone"

    @contextlib.contextmanager
    def __call__(self, _image: Image, _directory: Path) -> Iterator[Finished]:
        """Clone an image."""
        with self._cluster.pool() as made:
            pool, rbd = made.name, self._cluster.ceph.rbd
            rbd("create", "--size", f"{SIZE}B", f"{pool}/base")
            rbd("snap", "create", "--no-progress", f"{pool}/base@snapshot")
            seconds = []
            for number in range(_TIMES):
                with stopwatch() as watch:
                    rbd("clone", f"{pool}/base@snapshot", f"{pool}/volume-{number}")
                seconds.append(watch.seconds)
            yield Finished(statistics.median(seconds), 0, None)


def _diff(content: bytes) -> bytes:
    """The bytes at the beginning of an image, and a snapshot after them, as rbd export-diff has it.

    Args:
        content: The bytes.
    """
    name = _SNAPSHOT.encode()
    return b"".join(
        (
            b"rbd diff v1\n",
            *(b"t", struct.pack("<I", len(name)), name),
            *(b"s", struct.pack("<Q", SIZE)),
            *(b"w", struct.pack("<QQ", 0, len(content)), content),
            b"e",
        )
    )
