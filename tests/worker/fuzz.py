# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of random layers do, for as long as one likes: ``make fuzz``.

Every round has its seed, which is printed when it finds something: the same seed finds it again.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis

from tests.support.images import layer
from tests.worker.damage import DamageBench
from tests.worker.mutation import attempts
from tests.worker.properties import LAYERS, Bench, RandomLayer
from virtlayer.errors import DigestMismatch, LayerTooLarge, MalformedLayer, NoSpace

_MUTATIONS = 4000
_TO_EXT4 = 100
"""Every so many mutated archives, one goes to the real worker as well."""
_SEQUENCES = 20
_DAMAGED = 1000
"""Attempts in a round with damaged file systems."""


@dataclass(slots=True)
class Tally:
    """Counts of attempts."""

    sequences: int = 0
    layers: int = 0
    mutations: int = 0
    applied: int = 0
    on_ext4: int = 0
    damaged: int = 0
    readable: int = 0


def run_round(bench: Bench, damage: DamageBench, seed: int, tally: Tally) -> None:
    """Some of everything; raises what it finds."""
    print(f"seed {seed}", end="\r", file=sys.stderr)  # noqa: T201 -- a program of its own

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=_SEQUENCES,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(LAYERS)
    def sequences(layers: Sequence[RandomLayer]) -> None:
        tally.sequences += 1
        tally.layers += len(layers)
        bench.check(layers)

    sequences()
    for number, (raw, blob, was_applied) in enumerate(attempts(seed, _MUTATIONS)):
        tally.mutations += 1
        tally.applied += was_applied
        if not number % _TO_EXT4:
            tally.on_ext4 += 1
            try:
                bench.apply(layer(raw=raw, compression="none", blob=blob), first=True)
            except (MalformedLayer, LayerTooLarge, DigestMismatch, NoSpace):
                continue
    for number in range(_DAMAGED):
        tally.damaged += 1
        tally.readable += damage.attempt(seed * _DAMAGED + number)


def main() -> None:
    """Try for some minutes, and print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 10**9)
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60
    tally, seed = Tally(), arguments.seed
    with (
        tempfile.TemporaryDirectory() as directory,
        Bench(Path(directory)) as bench,
        DamageBench(Path(directory)) as damage,
    ):
        while time.monotonic() < end:
            run_round(bench, damage, seed, tally)
            seed += 1
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(tally, f"seeds {arguments.seed} to {seed - 1}, {memory} KiB, nothing found")  # noqa: T201


if __name__ == "__main__":
    main()
