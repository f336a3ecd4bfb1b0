# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes in bytes: units, limits of volumes, and human-readable forms."""

from virtlayer.errors import InvalidArgument

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

SMALLEST_VIRTUAL_SIZE = 64 * MIB
"""The minimum, so that a file system has room for a journal and an image."""
LARGEST_VIRTUAL_SIZE = 63 * TIB
"""ext4 counts its inodes with 32 bits. We make one for each 16 KiB, so 64 TiB would have 2^32, one
more than it can count. A qcow2 with our clusters of 64 KiB can be larger (2 PiB)."""


def check_virtual_size(option: str, size: int) -> None:
    """Check that a volume can have this size.

    Args:
        option: The name of the option or setting that gives the size, for the error.
        size: Virtual size in bytes.

    Raises:
        InvalidArgument: It is outside the limits or not a multiple of 1 MiB.
    """
    if not SMALLEST_VIRTUAL_SIZE <= size <= LARGEST_VIRTUAL_SIZE or size % MIB:
        shown = f"{size} bytes" if size % MIB else human_size(size)
        raise InvalidArgument(
            f"Invalid {option}: {shown}. A virtual size is a multiple of 1 MiB from "
            f"{human_size(SMALLEST_VIRTUAL_SIZE)} to {human_size(LARGEST_VIRTUAL_SIZE)}."
        )


def human_size(count: int) -> str:
    """A number of bytes in the largest unit that leaves at least 1: ``1536`` is ``1.5 KiB``."""
    size = float(count)
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"
