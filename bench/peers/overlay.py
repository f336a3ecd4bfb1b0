# SPDX-License-Identifier: LGPL-2.1-or-later
"""``qemu-img create`` of an overlay: the least that one more volume can cost."""

import contextlib
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.commands import run, stopwatch
from bench.inputs import Image
from bench.result import Finished

_TIMES = 10


class Overlay:
    """The contestant; whatever the image, its time is the median of several overlays."""

    title = "qemu-img create of an overlay"

    @contextlib.contextmanager
    def __call__(self, _image: Image, directory: Path) -> Iterator[Finished]:
        """Create overlays."""
        base = directory / "base.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", base, "16G")
        seconds = [self._create(directory / f"{number}.qcow2", base) for number in range(_TIMES)]
        yield Finished(statistics.median(seconds), 0, None)

    def _create(self, volume: Path, base: Path) -> float:
        with stopwatch() as watch:
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, volume)
        return watch.seconds
