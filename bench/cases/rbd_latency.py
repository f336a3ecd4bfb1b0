# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ceph cluster with a round-trip time of 0, 1 and 10 ms: big, small layers, volumes."""

from tests.support.slow_link import SlowLink

from bench.cases.case import OURS, Outcome, Setting
from bench.delayed import ROUND_TRIPS, Delayed
from bench.inputs import RBD_STEPS, Image
from bench.peers.rbd import Clone, Import
from bench.rbd.cluster import started_cluster
from bench.rbd.contestants import ColdPull, NewClone
from bench.result import Contestant
from bench.rows import Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    image, small = inputs.image("big"), inputs.image(f"steps-{RBD_STEPS[0]}")
    volume = "a volume"
    with SlowLink() as link, started_cluster(inputs, setting.kept, link=link) as cluster:
        works: dict[str, tuple[Contestant, Image]] = {
            OURS: (ColdPull(cluster, kept=True), image),
            Import.title: (Import(cluster), image),
            volume: (NewClone(cluster), small),
            Clone.title: (Clone(cluster), small),
        }
        series = setting.arena.compete(
            {
                f"{title}, {far}": (Delayed(contestant, link, round_trip), image)
                for far, round_trip in ROUND_TRIPS.items()
                for title, (contestant, image) in works.items()
            }
        )
    rows = []
    for far in ROUND_TRIPS:
        big, imported, made, cloned = (series[f"{title}, {far}"] for title in works)
        rows += [
            Row(f"big, {far}", Import.title, 1.3, times(big), times(imported)),
            Row(f"{volume}, {far}", Clone.title, 2, times(made, "ms"), times(cloned, "ms")),
        ]
    return Outcome(tuple(rows), series)
