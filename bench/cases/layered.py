# SPDX-License-Identifier: LGPL-2.1-or-later
"""Twenty layers: all new, all but the last one there already, or nothing new."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import Cold, Sharing, Unchanged
from bench.fresh import OnFreshFilesystem
from bench.peers.unpack import Umoci
from bench.rows import Figures, Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    first, second = inputs.image("layered"), inputs.image("layered-next")
    sharing, unchanged = "virtlayer, only the last layer new", "virtlayer, nothing changed"
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
            Row("cold", Umoci.title, 0.15, cold, times(series[Umoci.title])),
            Row("all but the last layer there", "cold", 0.05, times(series[sharing]), cold),
            Row(
                *("nothing changed", "skopeo inspect --raw", 2),
                *(times(series[unchanged], "ms"), inspections),
            ),
        ),
        series,
    )
