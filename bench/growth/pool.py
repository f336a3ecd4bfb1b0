# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every operation in a pool that has a number of images already.

All of them start with the same base volume, and each has a small layer of its own.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.commands import disk_usage, sync
from bench.growth.filling import Filling, fill
from bench.growth.service import Service, service
from bench.inputs import Image
from bench.ours import Machine
from bench.result import Finished
from bench.trees import Oracle
from bench.volumes import volume_tree

REMOVALS = 40
"""The pool has as many layers without an image when it is pruned."""
_POOL = "growth"
_TIMES = 5


class PoolOf:
    """The operations in a pool of so many images; the parts are the seconds of each, or bytes.

    The time is that of a pull of a small image of which nothing is there.

    Args:
        machine: Where it runs.
        template: The image that the others are copies of.
        images: How many there are in the pool.
    """

    def __init__(self, machine: Machine, template: Image, images: int) -> None:
        self._machine = machine
        self._template = template
        self._images = images

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Do everything; the image is the one that is pulled."""
        path = directory / _POOL
        path.mkdir()
        self._machine.host.start_pool(_POOL, path)
        try:
            run = _Run(self._machine, self._template, image, directory)
            run.fill(self._images)
            volumes = run.measure()
            top = volumes[-1]
            yield Finished(
                run.parts["pull"], disk_usage(*volumes), lambda: volume_tree(top), run.parts
            )
        finally:
            self._machine.host.stop_pool(_POOL)


class _Run:
    def __init__(self, machine: Machine, template: Image, image: Image, directory: Path) -> None:
        self._machine = machine
        self._template = template
        self._image = image
        self._directory = directory
        self._pool = directory / _POOL
        self._filling = Filling((), (), ())
        self._there: set[str] = set()
        self.parts: dict[str, float] = {}

    def fill(self, images: int) -> None:
        """Fill the pool while a service runs, which a rescan tells about it.

        An empty one stays empty.
        """
        with service(self._machine, self._directory / "home", _POOL) as running:
            if images:
                name = self._pulled(running, self._template)
                self._filling = fill(self._pool, name, images - 1, min(images, REMOVALS))
                self._there = {name, *self._filling.images}
                self._check_copy()
                sync(self._directory)
            self._rescan("rescan, all new", running, times=1)
            self._rescan("rescan", running, times=3)

    def measure(self) -> list[Path]:
        """Measure everything else; return the volumes of the image that was pulled last."""
        parts = self.parts
        starts = []
        for _ in range(3):
            with service(self._machine, self._directory / "home", _POOL) as running:
                starts.append(running.start)
        parts["start"] = statistics.median(starts)
        with service(self._machine, self._directory / "home", _POOL) as running:
            parts["ListImages"] = _median(running.list_images)
            parts |= {f"{name}, listed": size for name, size in running.memory().items()}
            parts["virtlayer images"] = _median(running.command)
            parts["GetManagedObjects"] = _median(running.list_objects)
            assert running.images() == self._there, "not all images are listed"
            self._pull(running)
            self._pull_unchanged(running)
            if self._filling.images:
                self._remove(running)
            volumes = running.pull(self._reference(self._image)).result["volumes"]
            parts |= running.memory()
        return [self._pool / name for name in volumes]

    def _rescan(self, part: str, running: Service, times: int) -> None:
        seconds = []
        for _ in range(times):
            job = running.rescan()
            seconds.append(job.seconds)
            found = {name: job.result[name] for name in ("found", "lost", "images_lost")}
            assert not any(found.values()), found
            assert job.result["orphans"] == len(self._filling.orphans), job.result["orphans"]
        self.parts[part] = statistics.median(seconds)
        assert running.images() == self._there, "not all images are listed"

    def _pull(self, running: Service) -> None:
        seconds = []
        for _ in range(1 + _TIMES):
            pull = running.pull(self._reference(self._image), cache=False)
            assert pull.result["layers_built"] == len(self._image.layers), pull.result
            running.remove(pull.result["name"])
            seconds.append(pull.seconds)
        # The first one in a new process is slower, in any pool.
        self.parts["pull"] = statistics.median(seconds[1:])

    def _pull_unchanged(self, running: Service) -> None:
        """Of the template, which an empty pool gets for this."""
        self._pulled(running, self._template)
        seconds = []
        for _ in range(_TIMES):
            pull = running.pull(self._reference(self._template))
            assert pull.result["outcome"] == "unchanged", pull.result
            seconds.append(pull.seconds)
        self.parts["pull, unchanged"] = statistics.median(seconds)

    def _remove(self, running: Service) -> None:
        chosen = list(zip(self._filling.images, self._filling.tops, strict=True))[-REMOVALS:]
        seconds = []
        for image, top in chosen:
            removal = running.remove(image)
            assert list(removal.result["volumes"]) == [top], removal.result
            seconds.append(removal.seconds)
        prune = running.prune()
        assert set(prune.result["volumes"]) == set(self._filling.orphans), prune.result
        self._there -= {image for image, _ in chosen}
        assert running.images() == self._there, "other images than those were removed"
        left = {path.name for path in self._pool.glob("*.qcow2")}
        assert not left & {*self._filling.orphans, *(top for _, top in chosen)}
        assert left >= set(self._filling.tops[:-REMOVALS])
        self.parts["removal"] = statistics.median(seconds)
        self.parts["prune"] = prune.seconds
        self.parts["removals and prune"] = sum(seconds) + prune.seconds

    def _pulled(self, running: Service, image: Image) -> str:
        return str(running.pull(self._reference(image)).result["name"])

    def _check_copy(self) -> None:
        """Compare the tree of a copy with the oracle's; it has the content of the template."""
        if self._filling.tops:
            with volume_tree(self._pool / self._filling.tops[-1]) as tree:
                reference = self._reference(self._template)
                Oracle().check("a copy", self._template, reference, tree, ignoring=())

    def _reference(self, image: Image) -> str:
        return self._machine.inputs.reference(image)


def _median(measured: Callable[[], float]) -> float:
    return statistics.median(measured() for _ in range(_TIMES))
