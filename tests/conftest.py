# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which tests run when none are named."""

from pathlib import Path

import pytest

_ACCEPTANCE = Path(__file__).parent / "acceptance"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/acceptance unless it is named: it wants the packages, and to be root."""
    if collection_path != _ACCEPTANCE:
        return None
    named = (Path(config.invocation_params.dir, arg.split("::")[0]) for arg in config.args)
    return None if any(path.is_relative_to(_ACCEPTANCE) for path in named) else True
