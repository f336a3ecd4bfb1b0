# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which tests run when none are named, and which of them are root."""

from pathlib import Path

import pytest

from tests.support import root_tests

_ACCEPTANCE = Path(__file__).parent / "acceptance"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/acceptance unless it is named: it wants the packages, and to be root."""
    if collection_path != _ACCEPTANCE:
        return None
    named = (Path(config.invocation_params.dir, arg.split("::")[0]) for arg in config.args)
    return None if any(path.is_relative_to(_ACCEPTANCE) for path in named) else True


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: the test's own process must be root; see root_tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root_tests.hand_over(items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    root_tests.record(report)
