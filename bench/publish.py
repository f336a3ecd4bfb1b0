# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts the figures of a case into the documentation, beside those of the other cases."""

import re

from bench import record
from bench.cases import CASES
from bench.chart import chart
from bench.machine import changes
from bench.places import DOCUMENTATION
from bench.report import CaseReport, markdown

_PLACE = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def refuse_changes() -> None:
    """Stop if what is measured would not be the commit that is published with the figures.

    Raises:
        SystemExit: There are changes outside the documentation.
    """
    if found := changes():
        raise SystemExit(
            "Figures are published with the commit that was measured, and these changes are in"
            f" none. Commit them first.\n{found}"
        )


def publish(name: str, measured: CaseReport) -> None:
    """Write a case into docs/performance.json, .svg and the table of .md, and keep the others."""
    data = DOCUMENTATION / "performance.json"
    known = {**record.read(data), name: measured}
    report = {case: known[case] for case in CASES if case in known}
    record.write(report, data)
    (DOCUMENTATION / "performance.svg").write_text(chart(report))
    page = DOCUMENTATION / "performance.md"
    text, places = _PLACE.subn(lambda _: f"\n{markdown(report)}\n\n", page.read_text())
    assert places == 1, f"{page} has no place for the figures"
    page.write_text(text)
