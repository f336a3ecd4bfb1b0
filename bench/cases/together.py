# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several pulls at a time, each into a pool of its own."""

from bench.cases.case import Outcome, Setting
from bench.contestants import Together
from bench.rows import Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    image = inputs.image("many-25k")
    numbers = {1: "one pull", 2: "two pulls at a time", 4: "four pulls at a time"}
    series = setting.arena.compete(
        {name: (Together(setting.machine, number), image) for number, name in numbers.items()}
    )
    alone, *more = (times(one) for one in series.values())
    rows = [
        Row(name, numbers[1], None, figures, alone)
        for name, figures in zip(list(numbers.values())[1:], more, strict=True)
    ]
    return Outcome(tuple(rows), series)
