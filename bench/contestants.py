# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer in the situations that are measured: nothing there yet, nearly all of it, all of it."""

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.commands import run, stopwatch
from bench.inputs import Image
from bench.ours import Ended, Installation, Machine
from bench.result import Finished
from bench.volumes import volume_tree

_TIMES = 7


class Cold:
    """A pull with nothing there yet.

    Args:
        machine: Where it runs.
        kept: Where the volumes of the last pull stay, for those who measure themselves with them.
    """

    def __init__(self, machine: Machine, kept: Path | None = None) -> None:
        self._machine = machine
        self._kept = kept

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image."""
        with self._machine.installed(directory) as installation:
            pull = installation.pull(image)
            if self._kept:
                _keep(self._kept, installation.volumes(pull))
            yield installation.finished(pull)


class Sharing:
    """A pull into a pool that has another image with the same first layers.

    Args:
        machine: Where it runs.
        other: The other image.
    """

    def __init__(self, machine: Machine, other: Image) -> None:
        self._machine = machine
        self._other = other

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image after the other."""
        with self._machine.installed(directory) as installation:
            installation.pull(self._other)
            yield installation.finished(installation.pull(image))


class Unchanged:
    """A pull of what is there already; the time is the median of several.

    One ``skopeo inspect --raw`` before each of them is in the parts, as ``inspect``.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image again and again."""
        inspections, pulls = [], []
        with self._machine.installed(directory) as installation:
            pull = installation.pull(image)
            for _ in range(_TIMES):
                with stopwatch() as inspection:
                    reference = installation.inputs.reference(image)
                    run("skopeo", "inspect", "--tls-verify=false", "--raw", reference)
                inspections.append(inspection.seconds)
                pull = installation.pull(image)
                pulls.append(pull.seconds)
            yield _with_median(installation, pull, pulls, inspect=inspections)


class NewVolume:
    """CreateVolume on an image; the time is the median of several."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Create volumes."""
        with self._machine.installed(directory) as installation:
            idle = installation.idle_memory()
            pull = installation.pull(image)
            seconds = [
                installation.create_volume(image, f"machine-{number}.qcow2").seconds
                for number in range(_TIMES)
            ]
            finished = _with_median(installation, pull, seconds, idle=[float(idle)])
            created = installation.pool / "machine-0.qcow2"
            yield dataclasses.replace(finished, tree=lambda: volume_tree(created))


def _with_median(
    installation: Installation, pull: Ended, seconds: list[float], **parts: list[float]
) -> Finished:
    finished = installation.finished(pull)
    medians = {name: statistics.median(values) for name, values in parts.items()}
    return Finished(
        statistics.median(seconds), finished.size, finished.tree, {**finished.parts, **medians}
    )


def _keep(directory: Path, volumes: list[Path]) -> None:
    for old in directory.iterdir():
        old.unlink()
    for volume in volumes:
        (directory / volume.name).hardlink_to(volume)
