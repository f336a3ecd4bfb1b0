# SPDX-License-Identifier: LGPL-2.1-or-later
"""Populate with many configured images, of which none has changed."""

import contextlib
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.commands import disk_usage, stopwatch
from bench.growth.service import Service, service
from bench.inputs import Image
from bench.ours import Machine
from bench.result import Finished
from bench.volumes import volume_tree

_POOL = "configured"
_TIMES = 3
_AT_ONCE = 4


class Populated:
    """Looks for new versions of images that are there.

    As many ``skopeo inspect --raw``, four at a time, go before each; their seconds are in the
    parts, as ``inspect``. The tree is that of the last image.

    Args:
        machine: Where it runs.
        images: The configured images.
    """

    def __init__(self, machine: Machine, images: Sequence[Image]) -> None:
        self._machine = machine
        self._images = images

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Let the first Populate pull all images, and measure those that follow."""
        path, home = directory / _POOL, directory / "home"
        path.mkdir()
        references = [self._machine.inputs.reference(one) for one in self._images]
        _configure(home, references)
        self._machine.host.start_pool(_POOL, path)
        try:
            with service(self._machine, home, _POOL) as running:
                self._populated(running, "new")
                inspections, seconds = [], []
                for _ in range(_TIMES):
                    inspections.append(_inspected(references))
                    seconds.append(self._populated(running, "unchanged"))
                pull = running.pull(self._machine.inputs.reference(image))
            volumes = [path / name for name in pull.result["volumes"]]
            yield Finished(
                statistics.median(seconds),
                disk_usage(*volumes),
                lambda: volume_tree(volumes[-1]),
                {"inspect": statistics.median(inspections)},
            )
        finally:
            self._machine.host.stop_pool(_POOL)

    def _populated(self, running: Service, outcome: str) -> float:
        job = running.populate()
        outcomes = [image["outcome"] for image in job.result["images"]]
        assert outcomes == [outcome] * len(self._images), job.result["images"][:3]
        return job.seconds


def _configure(home: Path, references: Sequence[str]) -> None:
    directory = home / "config" / "virtlayer" / "images.d"
    directory.mkdir(parents=True)
    for number, reference in enumerate(references):
        text = f'source = "{reference}"\npool = "{_POOL}"\ntls-verify = false\n'
        (directory / f"{number:03}.toml").write_text(text)


def _inspected(references: Sequence[str]) -> float:
    command = ["skopeo", "inspect", "--tls-verify=false", "--raw"]
    with stopwatch() as watch:
        subprocess.run(
            ["xargs", f"-P{_AT_ONCE}", "-n1", *command],
            input="\n".join(references).encode(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return watch.seconds
