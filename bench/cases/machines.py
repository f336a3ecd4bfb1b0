# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of images of 10 MB, 1 GB and 5 GB with the same kernel: one, and ten at once."""

from collections.abc import Iterator, Mapping

from bench.cases.case import OURS, Outcome, Setting
from bench.inputs import MACHINES, Image
from bench.machines.defining import NotStarted, VolumeAndDefine
from bench.machines.one import Command, FirstLine, FirstLineOfVirsh
from bench.machines.place import Place, prepared
from bench.machines.ten import AtOnce, FirstLines, FirstLinesOfVirsh, InSequence
from bench.measure import Series
from bench.places import scratch
from bench.result import Contestant
from bench.rows import Figures, Row, memory, times

_STARTED = "virsh start"
_PARTS = {
    "libvirt": "libvirt, until QEMU's process is there",
    "qemu": "QEMU and libvirt, until its processors run",
    "firmware": "QEMU's firmware, until the kernel runs",
    "uptime": "the kernel, our init and the program",
}


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete, all in one pool: a pull of 5 GB is no part of it."""
    images = [setting.arena.inputs.image(name) for name in MACHINES]
    with (
        scratch("machines") as directory,
        prepared(setting.machine, images, directory) as place,
    ):
        entrants = _entrants(place, images)
        series = setting.arena.compete(entrants, warmed=False)
    return Outcome(tuple(_rows(series)), series)


def _entrants(place: Place, images: list[Image]) -> dict[str, tuple[Contestant, Image]]:
    small = images[0]
    entrants: dict[str, tuple[Contestant, Image]] = {}
    for image in images:
        entrants[_ours(image.name)] = (FirstLine(place), image)
        entrants[_virsh(image.name)] = (FirstLineOfVirsh(place), image)
    return entrants | {
        _STARTED: (FirstLineOfVirsh(place, "start"), small),
        Command.title: (Command(place), small),
        NotStarted.title: (NotStarted(place), small),
        VolumeAndDefine.title: (VolumeAndDefine(place), small),
        InSequence.title: (InSequence(place), small),
        AtOnce.title: (AtOnce(place), small),
        FirstLines.title: (FirstLines(place), small),
        FirstLinesOfVirsh.title: (FirstLinesOfVirsh(place), small),
    }


def _ours(image: str) -> str:
    return f"{OURS}, {image}"


def _virsh(image: str) -> str:
    return f"virsh create, {image}"


def _rows(series: Mapping[str, Series]) -> Iterator[Row]:
    ours = {name: series[_ours(name)] for name in MACHINES}
    for name, one in ours.items():
        what = f"first line, {name.removeprefix('machine-')}"
        yield Row(what, FirstLineOfVirsh.title, 1.15, times(one), times(series[_virsh(name)]))
    slowest, fastest = (choose(ours.values(), key=lambda one: one.median) for choose in (max, min))
    yield Row("first line, slowest image", "fastest image", 1.05, times(slowest), times(fastest))
    yield Row("what StartDomain adds to virsh start", "", 0.05, _added(series))
    for title, peer, most in (
        (NotStarted.title, VolumeAndDefine.title, 2.0),
        (AtOnce.title, InSequence.title, 1.0),
    ):
        yield Row(title, peer, most, times(series[title], "ms"), times(series[peer], "ms"))
    ten, virsh = series[FirstLines.title], series[FirstLinesOfVirsh.title]
    yield Row(FirstLines.title, FirstLinesOfVirsh.title, 1.15, times(ten), times(virsh))
    yield Row("service, RSS with ten open streams", "", 60e6, memory(ten, "service"))
    yield Row("keeper, RSS with ten open streams", "", None, memory(ten, "keeper"))
    yield Row(Command.title, "", None, times(series[Command.title]))
    alone = series[_virsh(next(iter(MACHINES)))]
    for part, title in _PARTS.items():
        yield Row(f"virsh create: {title}", "", None, Figures(alone.parts[part], "s"))


def _added(series: Mapping[str, Series]) -> Figures:
    """What StartDomain takes longer than virsh, until the kernel of the machine runs."""
    ours = series[_ours(next(iter(MACHINES)))].parts["start"]
    alone = series[_STARTED].parts["start"]
    return Figures(
        tuple(max(0.0, start - other) for start, other in zip(ours, alone, strict=True)), "ms"
    )
