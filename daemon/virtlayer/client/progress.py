# SPDX-License-Identifier: LGPL-2.1-or-later
"""The progress of a job on standard error: bars on a terminal, lines elsewhere, or JSON lines.

Nothing is shown for a job that ends within a second, except as JSON for programs.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Protocol

from virtlayer.client.bus.answers import Progress
from virtlayer.client.pace import Pace
from virtlayer.printable import printable
from virtlayer.sizes import human_size

_QUIET_SECONDS = 1.0
"""Seconds until the first output: short jobs need none, and cron would send it by mail."""
_STEPS = 10
"""Lines for a whole job at most."""
_DUMB_TERMINALS = ("", "dumb", "unknown")


class ProgressDisplay(Protocol):
    """Shows the progress of one job.

    Attributes:
        with_layers: Whether the progress of each layer is wanted.
    """

    with_layers: bool

    def __call__(self, progress: Progress) -> None:
        """Show the newest values."""


@contextlib.contextmanager
def shown_progress(*, as_json: bool, only_on_terminal: bool = False) -> Iterator[ProgressDisplay]:
    """Yield the display for standard error, while a job runs.

    Args:
        as_json: One JSON object a line, for every step.
        only_on_terminal: Show nothing elsewhere.
    """
    if only_on_terminal and not sys.stderr.isatty():
        yield _Nothing()
        return
    if as_json:
        yield _JsonLines()
        return
    with contextlib.ExitStack() as life:
        if sys.stderr.isatty() and os.environ.get("TERM", "") not in _DUMB_TERMINALS:
            # Importing rich takes a tenth of a second, so it is imported for bars only.
            display: ProgressDisplay = _Bars(life)
        else:
            display = _Lines()
        delayed = _Delayed(display)
        life.callback(delayed.close)
        yield delayed


class _Nothing:
    """Standard error belongs to another program."""

    with_layers = False

    def __call__(self, progress: Progress) -> None:
        """Show nothing."""


class _JsonLines:
    """A JSON object for every step."""

    with_layers = False

    def __call__(self, progress: Progress) -> None:
        document = {
            "progress": progress.fraction,
            "stage": progress.stage,
            "bytes_done": progress.done,
            "bytes_total": progress.total,
        }
        print(json.dumps(document), file=sys.stderr, flush=True)


class _Delayed:
    """Keeps a display waiting until the job has run for a while.

    Args:
        display: The display that is used after that time.
    """

    def __init__(self, display: ProgressDisplay) -> None:
        self.with_layers = display.with_layers
        self._display = display
        self._newest: Progress | None = None
        self._is_time = False
        self._timer = asyncio.get_running_loop().call_later(_QUIET_SECONDS, self._begin)

    def __call__(self, progress: Progress) -> None:
        self._newest = progress
        if self._is_time:
            self._display(progress)

    def close(self) -> None:
        """Discard values that are not shown yet."""
        self._timer.cancel()

    def _begin(self) -> None:
        self._is_time = True
        if self._newest is not None:
            self._display(self._newest)


class _Lines:
    """A line for every tenth of the job; the figures never decrease."""

    with_layers = False

    def __init__(self) -> None:
        self._step = -1
        self._pace = Pace()

    def __call__(self, progress: Progress) -> None:
        self._pace.note(progress.fraction)
        step = int(progress.fraction * _STEPS)
        if step <= self._step or not progress.stage:
            return
        self._step = step
        parts = [f"{printable(progress.stage)} {progress.fraction:.0%}"]
        if progress.total:
            parts.append(f"{human_size(progress.done)} of {human_size(progress.total)}")
        left = self._pace.seconds_left(1.0)
        if left is not None:
            parts.append(f"{left:.0f} s left")
        print(", ".join(parts), file=sys.stderr, flush=True)


class _Bars:
    """Bars, from the first values on.

    Args:
        life: Ends them.
    """

    with_layers = True

    def __init__(self, life: contextlib.ExitStack) -> None:
        self._life = life
        self._bars: ProgressDisplay | None = None

    def __call__(self, progress: Progress) -> None:
        if self._bars is None:
            from virtlayer.client.progress_bars import ProgressBars

            self._bars = self._life.enter_context(ProgressBars())
        self._bars(progress)
