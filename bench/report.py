# SPDX-License-Identifier: LGPL-2.1-or-later
"""The result as a table, for a terminal and for the documentation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.cases.case import Outcome
from bench.rows import Row

_HEADER = ("case", "what", "against", "virtlayer", "the other", "ratio", "target", "result")
_LEGEND = "Figures are minimum / median / maximum of interleaved runs; a ratio is one of medians."


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What was found in one case.

    Attributes:
        date: When it began, ISO 8601.
        commit: What was measured.
        machine: Facts by name.
        minutes: How long all of it took.
        outcome: The figures.
        refused: Why there are none; empty if there are.
    """

    date: str
    commit: str
    machine: Mapping[str, str]
    minutes: float
    outcome: Outcome
    refused: str = ""


type Report = Mapping[str, CaseReport]
"""All that is known, by case."""


def text(report: Report) -> str:
    """The table for a terminal, columns aligned."""
    lines = [_HEADER, *_lines(report)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        [
            *(_aligned(line, widths) for line in lines),
            _LEGEND,
            *_refusals(report, whole=True),
            *(f"{cases}: {how}" for how, cases in _grouped(report, _how).items()),
        ]
    )


def markdown(report: Report) -> str:
    """The table for the documentation."""
    lines = [_HEADER, ("---",) * len(_HEADER), *_lines(report)]
    machines = _grouped(report, _machine)
    return "\n".join(
        [
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
            _LEGEND,
            "",
            *(f"- {refusal}" for refusal in _refusals(report, whole=False)),
            *(f"- {cases}: {how}" for how, cases in _grouped(report, _how).items()),
            *(
                f"- The machine{f' of {cases}' if len(machines) > 1 else ''}: {machine}"
                for machine, cases in machines.items()
            ),
        ]
    )


def _lines(report: Report) -> Iterator[tuple[str, ...]]:
    for case, measured in report.items():
        for row in measured.outcome.rows:
            yield case, *_cells(row)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        row.against or "—",
        str(row.ours),
        str(row.theirs) if row.theirs else "—",
        row.shown(row.measured),
        row.shown(row.target),
        "" if row.target is None else "met" if row.met else "MISSED",
    )


def _refusals(report: Report, *, whole: bool) -> Iterator[str]:
    for case, measured in report.items():
        if measured.refused:
            reason = measured.refused if whole else measured.refused.splitlines()[0]
            yield f"{case}: no figures. {reason}"


def _grouped(report: Report, about: Callable[[CaseReport], str]) -> dict[str, str]:
    """Return what is said about cases, with the cases of which it is true."""
    groups: dict[str, list[str]] = {}
    for case, measured in report.items():
        groups.setdefault(about(measured), []).append(case)
    return {said: ", ".join(cases) for said, cases in groups.items()}


def _how(measured: CaseReport) -> str:
    # A case can have fewer runs of what takes long, or counts what is the same in every run.
    numbers = {len(series.seconds) for series in measured.outcome.series.values()} or {0}
    runs = " to ".join(map(str, sorted({min(numbers), max(numbers)})))
    runs += " run" if numbers == {1} else " runs"
    return f"{runs} on {measured.date[:10]}, commit {measured.commit}"


def _machine(measured: CaseReport) -> str:
    return ", ".join(f"{name} {fact}" for name, fact in measured.machine.items())


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    padded: Iterator[str] = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(padded).rstrip()
