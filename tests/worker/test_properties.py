# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random layers do what the model of the specification says; ``make fuzz`` tries many more."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings

from tests.worker.properties import LAYERS, Bench, RandomLayer


def test_random_layers_give_the_tree_of_the_model(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:

        @settings(max_examples=80, deadline=None, derandomize=True, database=None)
        @given(LAYERS)
        def check(layers: Sequence[RandomLayer]) -> None:
            bench.check(layers)

        check()
