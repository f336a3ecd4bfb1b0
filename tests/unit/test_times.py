# SPDX-License-Identifier: LGPL-2.1-or-later
"""Times as they are printed."""

import pytest

from virtlayer.client.times import age, iso_time, local_time

MOMENT = 1_795_633_205_123_999
"""Microseconds since 1970."""


def test_times_are_in_iso_8601() -> None:
    assert iso_time(MOMENT) == "2026-11-25T19:00:05.123Z"
    assert iso_time(0) is None


def test_times_are_local_for_people() -> None:
    assert local_time(None, "never") == "never"
    assert local_time(iso_time(MOMENT), "").startswith("2026-11-2")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1min"),
        (3599, "59min"),
        (3600, "1h"),
        (86400, "1d"),
        (364 * 86400, "364d"),
        (800 * 86400, "2y"),
    ],
)
def test_an_age_is_in_its_largest_unit(seconds: int, shown: str) -> None:
    moment = "2026-11-25T19:00:05.000Z"
    assert age(moment, now=1_795_633_205 + seconds) == shown


def test_no_time_has_no_age() -> None:
    assert age(None) == "-"
