# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines of the result: what was measured, against what, and how much it may be."""

import statistics
from dataclasses import dataclass
from typing import Literal

from bench.measure import Series

type Unit = Literal["s", "ms", "µs", "MB", "KB", "number", "exponent"]
_SHOWN: dict[Unit, tuple[float, int, str]] = {
    "s": (1, 2, " s"),
    "ms": (1e3, 1, " ms"),
    "µs": (1e6, 1, " µs"),
    "MB": (1e-6, 0, " MB"),
    "KB": (1e-3, 1, " KB"),
    "number": (1, 0, ""),
    # Of a growth: 1 if a thing takes twice as long when there is twice as much.
    "exponent": (1, 2, ""),
}
"""A factor, the digits behind the point, and what comes after them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Values of one kind.

    Attributes:
        values: Seconds, bytes or numbers, one for each run.
        unit: How they are shown.
    """

    values: tuple[float, ...]
    unit: Unit

    @property
    def median(self) -> float:
        """Seconds, bytes or a number."""
        return statistics.median(self.values)

    def shown(self, *values: float) -> str:
        """Values of this kind, in the unit."""
        factor, digits, suffix = _SHOWN[self.unit]
        return " / ".join(f"{value * factor:.{digits}f}" for value in values) + suffix

    def __str__(self) -> str:
        """Minimum, median and maximum, in the unit."""
        return self.shown(min(self.values), self.median, max(self.values))


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured.

    Attributes:
        what: What virtlayer does.
        against: What it is compared with; with nothing, the target is an amount.
        target: The most that the ratio may be, or the most in the unit's base (seconds, bytes);
            None if none was set.
        ours: virtlayer's figures.
        theirs: Those of what it is compared with.
    """

    what: str
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
        return self.ours.shown(amount) if self.theirs is None else f"{amount:.2f}"


def times(series: Series, unit: Unit = "s") -> Figures:
    """The seconds of a contestant's runs."""
    return Figures(series.seconds, unit)


def sizes(series: Series) -> Figures:
    """The bytes of a contestant's result."""
    return Figures((float(series.size),), "MB")


def memory(series: Series, part: str) -> Figures:
    """A peak of memory in every run."""
    return Figures(series.parts[part], "MB")
