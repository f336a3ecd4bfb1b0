# SPDX-License-Identifier: LGPL-2.1-or-later
"""Points in time, from the microseconds since 1970 of D-Bus: for programs, and for people."""

import time
from datetime import UTC, datetime

_UNITS = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""As systemd abbreviates them."""


def iso_time(microseconds: int) -> str | None:
    """A time in ISO 8601, in UTC, with milliseconds; None for 0, which is no time."""
    if not microseconds:
        return None
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def local_time(iso: str | None, otherwise: str) -> str:
    """A time of ``iso_time``, as the clock on the wall shows it.

    Args:
        iso: The time.
        otherwise: What to show if there is none.
    """
    if iso is None:
        return otherwise
    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"


def age(iso: str | None, now: float | None = None) -> str:
    """How long ago a time of ``iso_time`` was, in the largest unit: ``3h``.

    Args:
        iso: The time; "-" is shown if there is none.
        now: The present time in seconds since 1970; by default what the clock says.
    """
    if iso is None:
        return "-"
    seconds = max(0, int((now or time.time()) - datetime.fromisoformat(iso).timestamp()))
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), (1, "s"))
    return f"{seconds // size}{unit}"
