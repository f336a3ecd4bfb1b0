# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged file systems lead to nothing but errors of their own; ``make fuzz`` tries many more."""

from pathlib import Path

from tests.worker.damage import DamageBench


def test_damaged_file_systems_lead_to_errors(tmp_path: Path) -> None:
    with DamageBench(tmp_path) as bench:
        readable = sum(bench.attempt(seed) for seed in range(150))
    assert readable > 50
