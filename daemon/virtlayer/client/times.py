# SPDX-License-Identifier: LGPL-2.1-or-later
"""Formats times of D-Bus, in microseconds since 1970, for programs and for users."""

import time
from datetime import UTC, datetime

_UNITS = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Units as systemd abbreviates them."""


def iso_time(microseconds: int) -> str | None:
    """Return a time in ISO 8601, in UTC, with milliseconds; None for 0, which means no time."""
    if not microseconds:
        return None
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def local_time(iso: str | None, otherwise: str) -> str:
    """Return a time of ``iso_time`` in local time.

    Args:
        iso: The time.
        otherwise: The text if there is none.
    """
    if iso is None:
        return otherwise
    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"


def age(iso: str | None, now: float | None = None) -> str:
    """Return the age of a time of ``iso_time``, in the largest unit: ``3h``.

    Args:
        iso: The time; "-" is shown if there is none.
        now: The present time in seconds since 1970; by default the time of the clock.
    """
    if iso is None:
        return "-"
    seconds = max(0, int((now or time.time()) - datetime.fromisoformat(iso).timestamp()))
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), (1, "s"))
    return f"{seconds // size}{unit}"
