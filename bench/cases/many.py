# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small files by the ten thousand."""

from bench.cases.case import Outcome, Setting
from bench.contestants import Cold
from bench.inputs import MANY
from bench.rows import Figures, Row, memory


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs, cold = setting.arena.inputs, Cold(setting.machine)
    images = {name: inputs.image(name) for name in MANY}
    series = setting.arena.compete({name: (cold, image) for name, image in images.items()})
    per_entry = {
        name: Figures(
            tuple(seconds / images[name].entries for seconds in series[name].seconds), "µs"
        )
        for name in MANY
    }
    fewest, most = MANY
    return Outcome(
        (
            Row(
                *("time per entry of 200k", "of 25k", 1.1),
                *(per_entry[most], per_entry[fewest]),
            ),
            Row("worker, peak RSS", "", 200e6, memory(series[most], "workers")),
        ),
        series,
    )
