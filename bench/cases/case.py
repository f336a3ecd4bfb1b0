# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a case gets, and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.measure import Arena, Series
from bench.ours import Machine
from bench.rows import Row

OURS = "virtlayer"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a case: its lines, and the series behind them by contestant."""

    rows: tuple[Row, ...]
    series: Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a case needs.

    Attributes:
        arena: Where it is run.
        machine: With libvirtd and a bus.
        kept: A directory for volumes that outlive the pull that made them.
        largest_pool: The most images of a pool.
    """

    arena: Arena
    machine: Machine
    kept: Path
    largest_pool: int


class Case(Protocol):
    """A module of this folder; its documentation says what is measured."""

    __doc__: str | None

    def measured(self, setting: Setting) -> Outcome:
        """Let the contestants compete."""
        ...
