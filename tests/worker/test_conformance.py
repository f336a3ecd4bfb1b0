# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every conformance case with our worker, and with umoci, the reference."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.worker.cases import Case, check, check_umoci
from tests.worker.conformance import all_cases
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

_CASES = [
    pytest.param(case, id=f"{topic}: {case.name}")
    for topic, cases in all_cases().items()
    for case in cases
]


def test_every_case_has_a_name_of_its_own() -> None:
    for topic, cases in all_cases().items():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names), topic


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", _CASES)
async def test_case(
    case: Case, worker_for: Callable[[LayerSettings], Awaitable[LayerWorker]], tmp_path: Path
) -> None:
    await check(case, await worker_for(case.settings), tmp_path)


@pytest.mark.parametrize("case", _CASES)
def test_case_with_umoci(case: Case, tmp_path: Path) -> None:
    check_umoci(case, tmp_path)
