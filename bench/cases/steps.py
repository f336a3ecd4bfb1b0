# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one more layer of 10 KB costs in a cold pull."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import Cold
from bench.inputs import STEPS
from bench.peers.overlay import Overlay
from bench.rows import Figures, Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
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
