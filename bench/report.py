# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result as a table for people and as JSON for programs."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cases.case import Outcome
from bench.rows import Row

_HEADER = ("case", "against", "virtlayer", "the other", "ratio", "at most", "")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run of the benchmark found.

    Attributes:
        date: ISO 8601.
        machine: Facts by name.
        runs: How often each contestant did each work.
        outcomes: By case.
        refused: Why a case has no figures, by case.
    """

    date: str
    machine: Mapping[str, str]
    runs: int
    outcomes: Mapping[str, Outcome]
    refused: Mapping[str, str]

    def rows(self) -> list[Row]:
        """All lines, case after case."""
        return [row for outcome in self.outcomes.values() for row in outcome.rows]

    def text(self) -> str:
        """The table, columns aligned."""
        cells = [_HEADER, *map(_cells, self.rows())]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            [
                *(_line(row, widths) for row in cells),
                "Figures are minimum / median / maximum; a ratio is one of medians.",
                *(f"{case}: no figures. {reason}" for case, reason in self.refused.items()),
                *(f"{name}: {fact}" for name, fact in self.machine.items()),
            ]
        )

    def markdown(self) -> str:
        """The table for the documentation."""
        rows = [_HEADER, ("---",) * len(_HEADER), *map(_cells, self.rows())]
        facts = ", ".join(f"{name} {fact}" for name, fact in self.machine.items())
        return "\n".join(
            [
                *(f"| {' | '.join(row)} |" for row in rows),
                "",
                f"Figures are minimum / median / maximum of {self.runs} interleaved runs.",
                f"A ratio is one of medians. Measured on {self.date[:10]}: {facts}.",
            ]
        )

    def write_json(self, path: Path) -> None:
        """Write everything, with a line of ratio, target and verdict for each row."""
        content = dataclasses.asdict(self)
        content["verdicts"] = [
            {
                "case": row.case,
                "against": row.against,
                "measured": row.measured,
                "target": row.target,
                "met": row.met,
            }
            for row in self.rows()
        ]
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.against or "—",
        str(row.ours),
        str(row.theirs) if row.theirs else "—",
        row.shown(row.measured),
        row.shown(row.target),
        "" if row.target is None else "met" if row.met else "MISSED",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded: Iterator[str] = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join(padded).rstrip()
