# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines of the result: what was measured, against what, and how much it may be."""

import statistics
from dataclasses import dataclass
from typing import Literal

from bench.measure import Series

type Unit = Literal["s", "ms", "µs", "MB"]
_FACTOR: dict[Unit, float] = {"s": 1, "ms": 1e3, "µs": 1e6, "MB": 1e-6}


@dataclass(frozen=True, slots=True)
class Figures:
    """Values of one kind.

    Attributes:
        values: Seconds or bytes, one for each run.
        unit: How they are shown.
    """

    values: tuple[float, ...]
    unit: Unit

    @property
    def median(self) -> float:
        """Seconds or bytes."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        """Minimum, median and maximum, in the unit."""
        factor = _FACTOR[self.unit]
        three = (min(self.values), self.median, max(self.values))
        digits = 2 if self.unit == "s" else 0 if self.unit == "MB" else 1
        return " / ".join(f"{value * factor:.{digits}f}" for value in three) + f" {self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured.

    Attributes:
        case: What virtlayer does.
        against: What it is compared with; with nothing, the target is an amount.
        target: The most that the ratio may be, or the most bytes; None if none was set.
        ours: virtlayer's figures.
        theirs: Those of what it is compared with.
    """

    case: str
    against: str
    target: float | None
    ours: Figures
    theirs: Figures | None = None

    @property
    def measured(self) -> float:
        """The ratio of the medians; without a peer, the largest amount of all runs."""
        if self.theirs is None:
            return max(self.ours.values)
        return self.ours.median / self.theirs.median

    @property
    def met(self) -> bool:
        """Whether the target is."""
        return self.target is None or self.measured <= self.target

    def shown(self, amount: float | None) -> str:
        """A ratio or an amount."""
        if amount is None:
            return "—"
        if self.theirs is not None:
            return f"{amount:.2f}"
        return f"{amount / 1e6:.0f} MB" if self.ours.unit == "MB" else f"{amount * 1e3:.0f} ms"


def times(series: Series, unit: Unit = "s") -> Figures:
    """The seconds of a contestant's runs."""
    return Figures(series.seconds, unit)


def sizes(series: Series) -> Figures:
    """The bytes of a contestant's result."""
    return Figures((float(series.size),), "MB")


def memory(series: Series, part: str) -> Figures:
    """A peak of memory in every run."""
    return Figures(series.parts[part], "MB")
