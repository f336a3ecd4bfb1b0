# SPDX-License-Identifier: LGPL-2.1-or-later
"""The times that a file can have: those that ext4 can store (ext4(5), "Inode Timestamps")."""

_NANOSECONDS = 1_000_000_000
_EARLIEST = -(2**31)
_LATEST = 2**34 - 2**31 - 1


def storable_time(nanoseconds: int) -> tuple[int, int]:
    """Return a time as both an ext4 and a directory can store it.

    Args:
        nanoseconds: Since 1970; a time before 1901 or after 2446 becomes the first or last second
            that ext4 can store, as Linux does it.

    Returns:
        Seconds since 1970, and nanoseconds.
    """
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    if seconds < _EARLIEST:
        return _EARLIEST, 0
    if seconds > _LATEST:
        return _LATEST, 0
    return seconds, fraction


def nanoseconds_of(seconds: int, fraction: int) -> int:
    """The nanoseconds since 1970 of seconds and nanoseconds."""
    return seconds * _NANOSECONDS + fraction
