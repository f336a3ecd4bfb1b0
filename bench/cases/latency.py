# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry with a round-trip time of 0, 1 and 10 ms: many requests, many bytes, nothing new."""

import dataclasses

from tests.support.slow_link import SlowLink

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import Cold, Unchanged
from bench.delayed import ROUND_TRIPS, Delayed
from bench.inputs import STEPS, Image
from bench.peers.copy import Copy
from bench.result import Contestant
from bench.rows import Figures, Row, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    arena = setting.arena
    requests, data = arena.inputs.image(f"steps-{STEPS[1]}"), arena.inputs.image("layered")
    unchanged, large = f"{OURS}, nothing changed", f"{OURS}, layered"
    with SlowLink() as link:
        inputs = arena.inputs.over(link)
        machine = dataclasses.replace(setting.machine, inputs=inputs)
        works: dict[str, tuple[Contestant, Image]] = {
            OURS: (Cold(machine), requests),
            Copy.title: (Copy(inputs), requests),
            unchanged: (Unchanged(machine), requests),
            large: (Cold(machine), data),
        }
        series = arena.compete(
            {
                f"{title}, {far}": (Delayed(contestant, link, round_trip), image)
                for far, round_trip in ROUND_TRIPS.items()
                for title, (contestant, image) in works.items()
                if not (title == large and far == "1 ms")
            }
        )
    rows = []
    for far in ROUND_TRIPS:
        again = series[f"{unchanged}, {far}"]
        rows += [
            Row(
                *(f"12 layers of 10 KB, {far}", Copy.title, 2),
                *(times(series[f"{one}, {far}"], "ms") for one in (OURS, Copy.title)),
            ),
            Row(
                *(f"nothing changed, {far}", "skopeo inspect --raw", 2),
                *(times(again, "ms"), Figures(again.parts["inspect"], "ms")),
            ),
        ]
    slow, fast = (times(series[f"{large}, {far}"]) for far in ("10 ms", "0 ms"))
    return Outcome((*rows, Row("layered, 10 ms", "0 ms", 1.2, slow, fast)), series)
