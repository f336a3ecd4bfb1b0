# SPDX-License-Identifier: LGPL-2.1-or-later
"""One layer of 750 MB and 46,000 entries."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import Cold
from bench.fresh import OnFreshFilesystem
from bench.peers.limit import Limit
from bench.peers.loop import Loop
from bench.peers.podman import Podman
from bench.peers.unpack import Umoci
from bench.rows import Row, memory, sizes, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
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
    targets = {Umoci.title: 0.25, Loop.title: 0.33, Podman.title: 0.15, Limit.title: 1.2}
    rows = [
        Row("cold", title, target, times(ours), times(series[title]))
        for title, target in targets.items()
    ]
    loop = series[Loop.title]
    rows += [
        Row("size of the volumes", "converted qcow2", 1.0, sizes(ours), sizes(loop)),
        Row("service, peak RSS", "", 60e6, memory(ours, "daemon")),
        Row("keeper, peak RSS", "", 45e6, memory(ours, "keeper")),
    ]
    return Outcome(tuple(rows), series)
