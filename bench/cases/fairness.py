# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls at the same time: four of one kind, and fifty small ones beside large ones."""

from bench.cases.case import Outcome, Setting
from bench.fairness import Several, Tiny
from bench.inputs import ALIKE, TINY
from bench.rows import Row, times

_LARGE = "big"
_AT_ONCE, _IN_SEQUENCE = "four pulls at once", "four pulls in sequence"


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs, machine = setting.arena.inputs, setting.machine
    first, *others = (inputs.image(name) for name in ALIKE)
    tiny, *more = (inputs.image(name) for name in TINY)
    loads = {"alone": None, f"beside {_LARGE}": inputs.image(_LARGE)}
    ways = {"one after the other": False, "started at once": True}
    series = setting.arena.compete(
        {
            _AT_ONCE: (Several(machine, others, at_once=True), first),
            _IN_SEQUENCE: (Several(machine, others, at_once=False), first),
            **{
                f"fifty small pulls {way}, {where}": (
                    Tiny(machine, more, beside=load, at_once=at_once),
                    tiny,
                )
                for way, at_once in ways.items()
                for where, load in loads.items()
            },
        }
    )
    at_once, in_sequence = series[_AT_ONCE], series[_IN_SEQUENCE]
    rows = [Row(_AT_ONCE, _IN_SEQUENCE, 1.1, times(at_once), times(in_sequence))]
    for way in ways:
        what = f"fifty small pulls {way}, "
        alone, beside = (times(series[f"{what}{where}"], "ms") for where in loads)
        rows.append(Row(f"{what}beside {_LARGE}: median", "alone", 3, beside, alone))
    return Outcome(tuple(rows), series)
