# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/layers.md says what the cases say."""

import re
from pathlib import Path

from tests.foreign.reasons import reasons
from tests.foreign.tools import TOOLS
from tests.worker.cases import Case
from tests.worker.conformance import all_cases

_TEXT = (Path(__file__).parents[2] / "docs/layers.md").read_text()


def _cases() -> list[Case]:
    return [case for cases in all_cases().values() for case in cases]


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
