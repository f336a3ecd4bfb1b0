# SPDX-License-Identifier: LGPL-2.1-or-later
"""The layer of big in an RBD pool, which two hosts share."""

from bench.cases.case import OURS, Outcome, Setting
from bench.inputs import STEPS
from bench.peers.rbd import Clone, Import, LoopAndImport
from bench.rbd import ColdPull, NewClone, started_cluster
from bench.rows import Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
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
