# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives made byte by byte, a module per topic, and the tree or error that each must lead to."""

import importlib
import pkgutil

from tests.worker.cases import Case


def all_cases() -> dict[str, list[Case]]:
    """The cases of every module, by its topic."""
    return {
        module.name.rpartition(".")[2]: importlib.import_module(module.name).CASES
        for module in pkgutil.iter_modules(__path__, f"{__name__}.")
    }
