# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives with random faults lead to nothing but defined errors; ``make fuzz`` tries many more."""

from tests.worker.mutation import attempts


def test_faults_lead_to_defined_errors() -> None:
    applied = [was_applied for _, _, was_applied in attempts(seed=20261124, number=3000)]

    # Neither is everything refused before it is looked at, nor everything taken.
    assert 0.1 < sum(applied) / len(applied) < 0.9
