# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of 20, 200, 1,500 and 5,000 images, and 200 images that are kept up to date."""

from collections.abc import Mapping

from bench.cases.case import OURS, Outcome, Setting
from bench.growth.figures import growth
from bench.growth.pool import REMOVALS, PoolOf
from bench.growth.populate import Populated
from bench.inputs import CONFIGURED
from bench.measure import Arena, Series
from bench.rows import Figures, Row, Unit

_SIZES = (0, 20, 200, 1_500, 5_000)
_LARGE = 1_500
_TIMES: dict[str, Unit] = {
    "pull": "ms",
    "pull, unchanged": "ms",
    "ListImages": "ms",
    "virtlayer images": "ms",
    "GetManagedObjects": "ms",
    "removal": "ms",
    "prune": "ms",
    "rescan": "ms",
    "rescan, all new": "ms",
    "start": "ms",
}
_MEMORY = {"service": "memory of the service", "keeper": "memory of the keeper"}


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs, machine = setting.arena.inputs, setting.machine
    template, small = inputs.image("steps-1"), inputs.image("small")
    configured = [inputs.image(f"configured-{number}") for number in range(CONFIGURED)]
    sizes = [size for size in _SIZES if size <= setting.largest_pool]
    pools = {f"{OURS}, {size:,} images": (PoolOf(machine, template, size), small) for size in sizes}
    most = list(pools)[-1]
    # The largest pool takes several minutes.
    series = Arena(inputs, 1).compete({most: pools.pop(most)})
    series |= setting.arena.compete(pools)
    by_size = {size: series[f"{OURS}, {size:,} images"] for size in sizes}
    populate = f"{OURS}, {CONFIGURED} configured images"
    contestant = Populated(machine, configured)
    series |= setting.arena.compete({populate: (contestant, configured[-1])})
    return Outcome((*_pool_rows(by_size), _populate_row(series[populate])), series)


def _pool_rows(by_size: Mapping[int, Series]) -> list[Row]:
    empty, sizes = by_size[0], sorted(by_size)
    rows = [
        Row(
            *(f"pull into a pool of {size:,} images", "into an empty pool", 1.2),
            *(_figures(by_size[size], "pull", "ms"), _figures(empty, "pull", "ms")),
        )
        for size in sizes
        if size
    ]
    if _LARGE in by_size:
        large = by_size[_LARGE]
        removals = f"{REMOVALS} removals and a prune of {REMOVALS} layers, {_LARGE:,} images"
        rows.append(Row(removals, "", 10, _figures(large, "removals and prune", "s")))
    for part, case in _MEMORY.items():
        rows += [
            Row(
                *(f"{case}, {size:,} images, more than over an empty pool", ""),
                *(20e6 if (part, size) == ("service", _LARGE) else None, _more(part, one, empty)),
            )
            for size, one in by_size.items()
            if size >= _LARGE
        ]
    if len(sizes) > 2:
        rows += [growth(part, part, by_size, unit) for part, unit in _TIMES.items()]
        rows += [growth(case, part, by_size, "MB") for part, case in _MEMORY.items()]
    return rows


def _figures(series: Series, part: str, unit: Unit) -> Figures:
    return Figures(series.parts[part], unit)


def _more(part: str, series: Series, empty: Series) -> Figures:
    least = Figures(empty.parts[part], "MB").median
    return Figures(tuple(value - least for value in series.parts[part]), "MB")


def _populate_row(series: Series) -> Row:
    return Row(
        f"populate of {CONFIGURED} images, nothing changed",
        f"{CONFIGURED} skopeo inspect, four at a time",
        1.5,
        Figures(series.seconds, "s"),
        Figures(series.parts["inspect"], "s"),
    )
