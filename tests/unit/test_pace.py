# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rates, and the time that is left."""

from virtlayer.client.pace import Pace


def test_rate_and_time_left_follow_the_last_seconds() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert (pace.rate, pace.seconds_left(100)) == (0, None)
    pace.note(0)
    assert (pace.rate, pace.seconds_left(100)) == (0, None)
    for second in range(1, 21):
        now = float(second)
        pace.note(10 * second)
    assert (pace.rate, pace.seconds_left(300)) == (10, 10)
    for second in range(21, 31):
        now = float(second)
        pace.note(200 + 2 * (second - 20))
    assert (pace.rate, pace.seconds_left(300)) == (2, 40)


def test_number_that_does_not_grow_has_no_time_left() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    for second in range(3):
        now = float(second)
        pace.note(5)
    assert (pace.rate, pace.seconds_left(10)) == (0, None)
