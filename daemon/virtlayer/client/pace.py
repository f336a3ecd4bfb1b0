# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures the rate of a growing number, and the remaining time until it reaches a goal."""

import time
from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 5.0
"""Seconds that are measured: the rate must follow changes of the network's speed."""


class Pace:
    """The growth of a number in the last seconds.

    Args:
        clock: Gives the time in seconds; monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()

    def note(self, value: float) -> None:
        """Record the present value, which never decreases."""
        now = self._clock()
        self._seen.append((now, value))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """The growth per second; 0 if it is unknown."""
        if len(self._seen) < 2:
            return 0.0
        (first, least), (last, most) = self._seen[0], self._seen[-1]
        return (most - least) / (last - first) if last > first else 0.0

    def seconds_left(self, goal: float) -> float | None:
        """Return the seconds until a goal is reached; None if unknown."""
        rate = self.rate
        return (goal - self._seen[-1][1]) / rate if rate else None
