# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer in the situations that are measured: nothing there yet, nearly all of it, all of it."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.commands import run, stopwatch
from bench.inputs import Image
from bench.memory import keepers_of, resident
from bench.ours import Ended, Machine
from bench.result import Finished
from bench.volumes import volume_tree

_TIMES = 7
_IDLE_SECONDS = 1
_IDLE_PATIENCE = 10.0
_LOOK_SECONDS = 0.05


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
                _keep(self._kept, pull.volumes)
            yield pull.finished()


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
            yield installation.pull(image).finished()


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
            yield _with_median(pull, pulls, inspect=inspections)


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
            created = [
                installation.create_volume(image, f"machine-{number}.qcow2")
                for number in range(_TIMES)
            ]
            seconds = [ended.seconds for ended, _ in created]
            volume = created[0][1]
            yield dataclasses.replace(
                _with_median(pull, seconds, idle=[float(idle)]), tree=lambda: volume_tree(volume)
            )


class GoneWhenIdle:
    """Ends when it is idle; the time is from a pull's end until all its processes are gone.

    How many are left after a while is in the parts, as ``left``.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image, and wait."""
        settings = "[jobs]\nkeep-seconds = 0\n"
        with self._machine.installed(
            directory, settings=settings, idle_seconds=_IDLE_SECONDS
        ) as installation:
            pull = installation.pull(image)
            service = installation.daemon.process
            processes = {service.pid, *keepers_of(service.pid), *installation.daemon.programs}
            deadline = time.monotonic() + _IDLE_PATIENCE
            with stopwatch() as watch:
                while any(map(resident, processes)) and time.monotonic() < deadline:
                    time.sleep(_LOOK_SECONDS)
            left = len([pid for pid in processes if resident(pid)])
            yield dataclasses.replace(pull.finished(), seconds=watch.seconds, parts={"left": left})


def _with_median(pull: Ended, seconds: list[float], **parts: list[float]) -> Finished:
    finished = pull.finished()
    medians = {name: statistics.median(values) for name, values in parts.items()}
    return dataclasses.replace(
        finished, seconds=statistics.median(seconds), parts={**finished.parts, **medians}
    )


def _keep(directory: Path, volumes: Sequence[Path]) -> None:
    for old in directory.iterdir():
        old.unlink()
    for volume in volumes:
        (directory / volume.name).hardlink_to(volume)
