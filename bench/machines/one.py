# SPDX-License-Identifier: LGPL-2.1-or-later
"""One machine, until the first line of its program."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.commands import stopwatch
from bench.inputs import Image
from bench.machines.calls import COMMAND, create, first_line, name_of, remove, uptime_in
from bench.machines.output import output_of, wait_for_line
from bench.machines.place import AtPlace, Place
from bench.result import Finished, finished_with

_TIMES = 2
_NAME = "m"
_PROGRAM = Path(sys.executable).parent / "virtlayer"


class FirstLine(AtPlace):
    """From the call of CreateDomain to the first line of the machine's program.

    The parts have the time until its kernel runs from StartDomain, as ``start``.
    """

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Make machines."""
        place, lines = self._place, []
        for _ in range(_TIMES):
            with place.nothing_left():
                lines.append(place.asked(partial(first_line, image=image, name=_NAME)))
                place.asked(partial(remove, name=_NAME))
        yield finished_with(
            [line.seconds for line in lines],
            created=[line.created for line in lines],
            start=[line.started - line.uptime for line in lines],
            uptime=[line.uptime for line in lines],
        )


class FirstLineOfVirsh(AtPlace):
    """``virsh create`` of the XML that virtlayer has defined, until the first line.

    Each time it is another machine, with a new volume, which virtlayer makes before and removes
    afterwards. The parts are those of this time.

    Args:
        place: Where they are made.
        command: ``create``, or ``start`` of the defined machine.
    """

    title = "virsh create of the same XML"

    def __init__(self, place: Place, command: str = "create") -> None:
        super().__init__(place)
        self._command = command

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Start machines."""
        found = [self._started(image, directory) for _ in range(_TIMES)]
        yield finished_with(
            [one.seconds for one in found],
            libvirt=[one.process for one in found],
            qemu=[one.runs - one.process for one in found],
            firmware=[one.seconds - one.uptime - one.runs for one in found],
            uptime=[one.uptime for one in found],
            start=[one.seconds - one.uptime for one in found],
        )

    def _started(self, image: Image, directory: Path) -> "_Started":
        place = self._place
        with place.nothing_left():
            place.asked(partial(create, image=image, name=_NAME))
            xml = directory / f"{_NAME}.xml"
            xml.write_text(place.virsh("dumpxml", "--inactive", "--security-info", _NAME))
            output = place.inside(output_of(xml))
            begun = time.clock_gettime(time.CLOCK_BOOTTIME)
            place.virsh(self._command, xml if self._command == "create" else _NAME)
            runs = time.clock_gettime(time.CLOCK_BOOTTIME)
            line = wait_for_line(output)
            ended = time.clock_gettime(time.CLOCK_BOOTTIME)
            process = _start_of(place.inside(Path(f"/run/libvirt/qemu/{_NAME}.pid")))
            place.virsh("destroy", _NAME)
            place.asked(partial(remove, name=_NAME))
        return _Started(process - begun, runs - begun, ended - begun, uptime_in(line, image))


@dataclass(frozen=True, slots=True)
class _Started:
    """A machine that libvirt has started; all in seconds from the call of virsh.

    Attributes:
        process: Until QEMU's process was there.
        runs: Until its processors ran.
        seconds: Until its first line.
        uptime: What its kernel counts of that.
    """

    process: float
    runs: float
    seconds: float
    uptime: float


class Command(AtPlace):
    """``virtlayer run --rm``, from its start to the first line that it prints."""

    title = "virtlayer run --rm, to the first line"

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Run machines."""
        yield finished_with([self._ran(image) for _ in range(_TIMES)])

    def _ran(self, image: Image) -> float:
        options = ("--rm", "--type=qemu", "--network=none", "--cpus=1")
        *shell, script = COMMAND
        command = [*shell, script.rpartition(";")[0]]
        with self._place.nothing_left():
            with stopwatch() as watch:
                running = subprocess.Popen(
                    [_PROGRAM, "--user", "run", *options, name_of(image), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                )
                assert running.stdout is not None
                line = running.stdout.readline()
            with running:
                uptime_in(line, image)
        return watch.seconds


def _start_of(pid_file: Path) -> float:
    """Return when a process was started, in seconds since the host was."""
    fields = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
