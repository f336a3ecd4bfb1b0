# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limits of one layer."""

from typing import NamedTuple


class LayerLimits(NamedTuple):
    """The limits that the worker itself checks; those of its process are in ``sandbox``."""

    bytes: int
    """Unpacked bytes of the archive."""
    entries: int
    """Entries in the archive."""
    path: int
    """Bytes of an entry's path, or of a hard link's target; half as many are its names."""
    header: int
    """Bytes of all extended headers of one entry together."""
    segments: int
    """Stretches of data in one sparse file."""
