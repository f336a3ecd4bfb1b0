# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts the result of a complete run into the documentation."""

import re

from bench.chart import chart
from bench.places import DOCUMENTATION
from bench.report import Report

_PLACE = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def publish(report: Report) -> None:
    """Write docs/performance.json and .svg, and the table in docs/performance.md."""
    report.write_json(DOCUMENTATION / "performance.json")
    (DOCUMENTATION / "performance.svg").write_text(chart(report))
    page = DOCUMENTATION / "performance.md"
    text, places = _PLACE.subn(lambda _: f"\n{report.markdown()}\n\n", page.read_text())
    assert places == 1, f"{page} has no place for the figures"
    page.write_text(text)
