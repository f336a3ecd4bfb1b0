# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of a small image and of one with 1 GiB more, with the same kernel."""

from bench.cases.case import OURS, Outcome, Setting
from bench.inputs import MACHINES
from bench.machines import KERNEL, FirstLine, FirstLineOfVirsh, NotStarted, VolumeAndDefine
from bench.rows import Figures, Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
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
