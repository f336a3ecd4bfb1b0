# SPDX-License-Identifier: LGPL-2.1-or-later
"""An RBD pool, which two hosts share: the layer of big, small layers, volumes."""

from bench.cases.case import OURS, Outcome, Setting
from bench.inputs import RBD_STEPS
from bench.peers.rbd import Clone, Import, Layer, LoopAndImport
from bench.rbd.cluster import started_cluster
from bench.rbd.contestants import ColdPull, NewClone, SecondHost
from bench.rows import Figures, Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    few, many = RBD_STEPS
    image, small, layers = (inputs.image(one) for one in ("big", f"steps-{few}", f"steps-{many}"))
    both, second, volume = f"{OURS} on two hosts at once", f"{OURS}, second host", "a volume"
    short, long = f"{OURS}, {few} more", f"{OURS}, {many} more"
    with started_cluster(inputs, setting.kept) as cluster:
        series = setting.arena.compete(
            {
                OURS: (ColdPull(cluster, kept=True), image),
                Import.title: (Import(cluster), image),
                LoopAndImport.title: (LoopAndImport(cluster), image),
                both: (ColdPull(cluster, hosts=2), image),
                second: (SecondHost(cluster), layers),
                short: (ColdPull(cluster), small),
                long: (ColdPull(cluster), layers),
                Layer.title: (Layer(cluster), small),
                volume: (NewClone(cluster), small),
                Clone.title: (Clone(cluster), small),
            }
        )
    ours, into = times(series[OURS]), "big"
    pairs = zip(series[short].seconds, series[long].seconds, strict=True)
    cost = tuple((slow - fast) / (many - few) for fast, slow in pairs)
    inspections = Figures(series[second].parts["inspect"], "ms")
    return Outcome(
        (
            Row(into, Import.title, 1.3, ours, times(series[Import.title])),
            Row(into, LoopAndImport.title, 1, ours, times(series[LoopAndImport.title])),
            Row(f"{into}, by two hosts at once", "one host", 1.2, times(series[both]), ours),
            Row(
                *("a second host, all six layers there", "skopeo inspect", 2),
                *(times(series[second], "ms"), inspections),
            ),
            Row(
                *("one more layer of 10 KB", Layer.title, 2),
                *(Figures(cost, "ms"), times(series[Layer.title], "ms")),
            ),
            Row(
                *(volume, Clone.title, 2),
                *(times(series[volume], "ms"), times(series[Clone.title], "ms")),
            ),
        ),
        series,
    )
