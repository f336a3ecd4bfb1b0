# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/layers.md says what the cases say."""

import importlib
import pkgutil
import re
from pathlib import Path

import tests.worker
from tests.foreign.reasons import reasons
from tests.foreign.tools import TOOLS
from tests.worker.cases import Case

_TEXT = (Path(__file__).parents[2] / "docs/layers.md").read_text()


def _cases() -> list[Case]:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(tests.worker.__path__, "tests.worker.")
        if "test_conformance" in module.name
    ]
    return [case for module in modules for case in module._CASES]


def test_differences_from_umoci_are_listed() -> None:
    section = _TEXT.split("## Differences from umoci")[1].split("\n## ")[0]
    listed = re.findall(r"^\| .* \| (.*) \|$", section, re.MULTILINE)

    assert {*listed} - {"why", "---"} == {case.umoci for case in _cases() if case.umoci}
    assert f"\n{len(_cases())} archives" in section


def test_reasons_for_differences_with_archives_of_others_can_be_read() -> None:
    section = _TEXT.split("\n## Archives and images of others\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `.*$", section, re.MULTILINE)
    found = reasons()

    assert len({reason.why for reason in found}) == len(rows)
    assert {reason.tool for reason in found} == set(TOOLS)
