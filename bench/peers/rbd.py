# SPDX-License-Identifier: LGPL-2.1-or-later
"""rbd(8): imports a raw file, after a loop mount and tar too, and clones a snapshot."""

import contextlib
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.commands import stopwatch
from bench.inputs import Image
from bench.peers.loop import new_file_system
from bench.rbd import SIZE, Cluster
from bench.result import Finished

_TIMES = 7


class Import:
    """``rbd import`` of the bytes that virtlayer has written.

    Args:
        cluster: Where it runs.
    """

    title = "rbd import of the same bytes"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:  # noqa: ARG002 -- as all
        """Import an image."""
        cluster = self._cluster
        with cluster.pool() as pool:
            place = f"{pool.name}/image"
            with stopwatch() as watch:
                cluster.ceph.rbd("import", "--no-progress", str(cluster.raw), place)
            yield Finished(watch.seconds, 0, lambda: cluster.tree(place))


class LoopAndImport:
    """What a script would do; it takes part with images of one layer.

    Args:
        cluster: Where it runs.
    """

    title = "skopeo copy + loop mount + tar + rbd import"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

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


class Clone:
    """``rbd clone`` of a snapshot; the time is the median of several.

    Args:
        cluster: Where it runs.
    """

    title = "rbd clone"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:  # noqa: ARG002 -- as all
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
