# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cases of the benchmark, and the targets that were set for them before they were measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import Cold, NewVolume, Sharing, Together, Unchanged
from bench.fresh import OnFreshFilesystem
from bench.inputs import MACHINES, MANY, STEPS
from bench.machines import KERNEL, FirstLine, FirstLineOfVirsh, NotStarted, VolumeAndDefine
from bench.measure import Arena, Series
from bench.ours import Machine
from bench.peers.limit import Limit
from bench.peers.loop import Loop
from bench.peers.overlay import Overlay
from bench.peers.podman import Podman
from bench.peers.rbd import Clone, Import, LoopAndImport
from bench.peers.unpack import Umoci
from bench.rbd import ColdPull, NewClone, started_cluster
from bench.rows import Figures, Row, memory, sizes, times

OURS = "virtlayer"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a case: its lines, and the series behind them by contestant."""

    rows: tuple[Row, ...]
    series: Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a case needs.

    Attributes:
        arena: Where it is run.
        machine: With libvirtd and a bus.
        kept: A directory for volumes that outlive the pull that made them.
    """

    arena: Arena
    machine: Machine
    kept: Path


def big(setting: Setting) -> Outcome:
    """One layer of 750 MB and 45,000 entries."""
    inputs = setting.arena.inputs
    image = inputs.image("big")
    series = setting.arena.compete(
        {
            OURS: (Cold(setting.machine, setting.kept), image),
            Umoci.title: (OnFreshFilesystem(Umoci(inputs)), image),
            Loop.title: (Loop(inputs), image),
            Podman.title: (OnFreshFilesystem(Podman(inputs)), image),
            Limit.title: (Limit(inputs, setting.kept), image),
        }
    )
    ours = series[OURS]
    targets = {Umoci.title: 0.25, Loop.title: 0.33, Podman.title: 0.5, Limit.title: 1.3}
    rows = [
        Row("big, cold", title, target, times(ours), times(series[title]))
        for title, target in targets.items()
    ]
    loop = series[Loop.title]
    rows += [
        Row("big, size of the volumes", "converted qcow2", 1.0, sizes(ours), sizes(loop)),
        Row("daemon, peak RSS in the pull of big", "", 60e6, memory(ours, "daemon")),
    ]
    return Outcome(tuple(rows), series)


def fat(setting: Setting) -> Outcome:
    """One file of 4 GiB that cannot be compressed."""
    inputs = setting.arena.inputs
    image, small = inputs.image("fat"), inputs.image("fat-512m")
    eighth = f"{OURS}, 512 MiB"
    series = setting.arena.compete(
        {
            OURS: (Cold(setting.machine, setting.kept), image),
            Limit.title: (Limit(inputs, setting.kept), image),
            eighth: (Cold(setting.machine), small),
        }
    )
    ours, limit = series[OURS], series[Limit.title]
    per_byte = [
        Figures(tuple(seconds / one.unpacked * 1e9 for seconds in series[name].seconds), "s")
        for name, one in ((OURS, image), (eighth, small))
    ]
    return Outcome(
        (
            Row("fat, cold", Limit.title, 1.3, times(ours), times(limit)),
            Row("fat, time per GB of 4 GiB", "of 512 MiB", None, *per_byte),
            Row("worker, peak RSS on fat", "", 100e6, memory(ours, "workers")),
        ),
        series,
    )


def layered(setting: Setting) -> Outcome:
    """Twenty layers: all new, all but the last one there already, or nothing new."""
    inputs = setting.arena.inputs
    first, second = inputs.image("layered"), inputs.image("layered-next")
    sharing, unchanged = "virtlayer, second image", "virtlayer, nothing changed"
    series = setting.arena.compete(
        {
            OURS: (Cold(setting.machine), second),
            Umoci.title: (OnFreshFilesystem(Umoci(inputs)), second),
            sharing: (Sharing(setting.machine, first), second),
            unchanged: (Unchanged(setting.machine), second),
        }
    )
    cold = times(series[OURS])
    inspections = Figures(series[unchanged].parts["inspect"], "ms")
    return Outcome(
        (
            Row("layered, cold", Umoci.title, 0.25, cold, times(series[Umoci.title])),
            Row(
                "layered, all but the last layer there", "cold", 0.05, times(series[sharing]), cold
            ),
            Row(
                *("layered, nothing changed", "skopeo inspect --raw", 2),
                *(times(series[unchanged], "ms"), inspections),
            ),
        ),
        series,
    )


def steps(setting: Setting) -> Outcome:
    """What one more layer of 10 KB costs in a cold pull."""
    few, many = STEPS
    inputs, cold = setting.arena.inputs, Cold(setting.machine)
    series = setting.arena.compete(
        {
            f"{OURS}, {few} more": (cold, inputs.image(f"steps-{few}")),
            f"{OURS}, {many} more": (cold, inputs.image(f"steps-{many}")),
            Overlay.title: (Overlay(), inputs.image(f"steps-{few}")),
        }
    )
    short, long, overlay = series.values()
    cost = tuple(
        (slow - fast) / (many - few) for fast, slow in zip(short.seconds, long.seconds, strict=True)
    )
    row = Row(
        *("one more layer of 10 KB", Overlay.title, 2),
        *(Figures(cost, "ms"), times(overlay, "ms")),
    )
    return Outcome((row,), series)


def many(setting: Setting) -> Outcome:
    """Small files by the ten thousand."""
    inputs, cold = setting.arena.inputs, Cold(setting.machine)
    images = {name: inputs.image(name) for name in MANY}
    series = setting.arena.compete({name: (cold, image) for name, image in images.items()})
    per_entry = {
        name: Figures(
            tuple(seconds / images[name].entries for seconds in series[name].seconds), "µs"
        )
        for name in MANY
    }
    fewest, *_, most = MANY
    return Outcome(
        (
            Row(
                *("many, time per entry of 200k", "of 25k", 1.1),
                *(per_entry[most], per_entry[fewest]),
            ),
            Row("worker, peak RSS on many", "", 200e6, memory(series[most], "workers")),
        ),
        series,
    )


def volume(setting: Setting) -> Outcome:
    """A writable volume on an image that is there."""
    inputs = setting.arena.inputs
    image = inputs.image(f"steps-{STEPS[0]}")
    series = setting.arena.compete(
        {OURS: (NewVolume(setting.machine), image), Overlay.title: (Overlay(), image)}
    )
    ours, overlay = series[OURS], series[Overlay.title]
    return Outcome(
        (
            Row("CreateVolume", Overlay.title, 3, times(ours, "ms"), times(overlay, "ms")),
            Row("daemon, idle RSS", "", 45e6, memory(ours, "idle")),
        ),
        series,
    )


def together(setting: Setting) -> Outcome:
    """Several pulls at a time, each into a pool of its own."""
    inputs = setting.arena.inputs
    image = inputs.image("many-25k")
    numbers = {1: "one pull", 2: "two pulls at a time", 4: "four pulls at a time"}
    series = setting.arena.compete(
        {name: (Together(setting.machine, number), image) for number, name in numbers.items()}
    )
    alone, *more = (times(one) for one in series.values())
    rows = [
        Row(f"many-25k, {name}", numbers[1], None, figures, alone)
        for name, figures in zip(list(numbers.values())[1:], more, strict=True)
    ]
    return Outcome(tuple(rows), series)


def machines(setting: Setting) -> Outcome:
    """Machines of a small image and of one with 1 GiB more, with the same kernel."""
    inputs, machine = setting.arena.inputs, setting.machine
    kernel = inputs.image(KERNEL)
    small, large = (inputs.image(name) for name in MACHINES)
    more = f"{OURS}, 1 GiB more"
    series = setting.arena.compete(
        {
            OURS: (FirstLine(machine, kernel), small),
            FirstLineOfVirsh.title: (FirstLineOfVirsh(machine, kernel), small),
            more: (FirstLine(machine, kernel), large),
            NotStarted.title: (NotStarted(machine, kernel), small),
            VolumeAndDefine.title: (VolumeAndDefine(machine, kernel), small),
        }
    )
    ours, virsh = series[OURS], series[FirstLineOfVirsh.title]
    pairs = zip(ours.parts["start"], virsh.parts["start"], strict=True)
    added = Figures(tuple(max(0.0, start - alone) for start, alone in pairs), "ms")
    first_line = "first line of a machine"
    return Outcome(
        (
            Row(first_line, FirstLineOfVirsh.title, 1.15, times(ours), times(virsh)),
            Row(f"{first_line}, 1 GiB more", "small", 1.1, times(series[more]), times(ours)),
            Row("what StartDomain adds to virsh start", "", 0.05, added),
            Row(
                *(NotStarted.title, VolumeAndDefine.title, 2),
                *(
                    times(series[NotStarted.title], "ms"),
                    times(series[VolumeAndDefine.title], "ms"),
                ),
            ),
        ),
        series,
    )


def rbd(setting: Setting) -> Outcome:
    """The layer of big in an RBD pool, which two hosts share."""
    inputs = setting.arena.inputs
    image, small = inputs.image("big"), inputs.image(f"steps-{STEPS[0]}")
    both, volume = f"{OURS} on two hosts at once", "a volume on RBD"
    with started_cluster(inputs, setting.kept) as cluster:
        series = setting.arena.compete(
            {
                OURS: (ColdPull(cluster, kept=True), image),
                Import.title: (Import(cluster), image),
                LoopAndImport.title: (LoopAndImport(cluster), image),
                both: (ColdPull(cluster, hosts=2), image),
                volume: (NewClone(cluster), small),
                Clone.title: (Clone(cluster), small),
            }
        )
    ours = times(series[OURS])
    into = "big into RBD"
    return Outcome(
        (
            Row(into, Import.title, 1.3, ours, times(series[Import.title])),
            Row(into, LoopAndImport.title, None, ours, times(series[LoopAndImport.title])),
            Row(f"{into} by two hosts at once", "one host", 1.2, times(series[both]), ours),
            Row(
                volume,
                Clone.title,
                2,
                times(series[volume], "ms"),
                times(series[Clone.title], "ms"),
            ),
        ),
        series,
    )


CASES: dict[str, Callable[[Setting], Outcome]] = {
    "big": big,
    "fat": fat,
    "layered": layered,
    "steps": steps,
    "many": many,
    "together": together,
    "volume": volume,
    "machines": machines,
    "rbd": rbd,
}
