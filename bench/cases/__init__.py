# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cases of the benchmark, and the targets that were set for them before they were measured."""

from bench.cases import (
    bandwidth,
    big,
    fairness,
    fat,
    growth,
    latency,
    layered,
    machines,
    many,
    rbd,
    rbd_latency,
    steps,
    volume,
)
from bench.cases.case import Case

CASES: dict[str, Case] = {
    "big": big,
    "fat": fat,
    "layered": layered,
    "steps": steps,
    "many": many,
    "fairness": fairness,
    "bandwidth": bandwidth,
    "volume": volume,
    "machines": machines,
    "rbd": rbd,
    "latency": latency,
    "rbd-latency": rbd_latency,
    "growth": growth,
}
