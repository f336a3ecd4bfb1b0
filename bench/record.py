# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result as JSON, for programs and for a later run that replaces a part of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from bench.cases.case import Outcome
from bench.measure import Series
from bench.report import CaseReport, Report
from bench.rows import Figures, Row


def write(report: Report, path: Path) -> None:
    """Write everything, with the ratio or amount of each row, and whether its target is met."""
    content = {case: dataclasses.asdict(measured) for case, measured in report.items()}
    for case, measured in report.items():
        for kept, row in zip(content[case]["outcome"]["rows"], measured.outcome.rows, strict=True):
            kept |= {"measured": row.measured, "met": row.met}
    path.write_text(json.dumps({"cases": content}, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> dict[str, CaseReport]:
    """Read what was written."""
    cases = json.loads(path.read_text())["cases"]
    return {case: _case(content) for case, content in cases.items()}


def _case(content: dict[str, Any]) -> CaseReport:
    rows, series = content["outcome"]["rows"], content["outcome"]["series"]
    outcome = Outcome(
        tuple(_row(row) for row in rows), {name: _series(one) for name, one in series.items()}
    )
    return CaseReport(**{**content, "outcome": outcome})


def _row(content: dict[str, Any]) -> Row:
    ours, theirs = content["ours"], content["theirs"]
    figures = [Figures(tuple(one["values"]), one["unit"]) for one in (ours, theirs) if one]
    return Row(content["what"], content["against"], content["target"], *figures)


def _series(content: dict[str, Any]) -> Series:
    parts = {name: tuple(values) for name, values in content["parts"].items()}
    return Series(tuple(content["seconds"]), content["size"], parts)
