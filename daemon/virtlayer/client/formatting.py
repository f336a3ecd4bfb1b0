# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes as people write and read them."""

import re

from virtlayer.settings import GIB, KIB, MIB

_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?", re.ASCII)


def human_size(count: int) -> str:
    """A number of bytes in the largest unit that leaves at least 1: ``1536`` is ``1.5 KiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def parse_size(text: str) -> int:
    """A size such as ``20G`` or ``512MiB`` in bytes; units are powers of 1024, as qemu-img's are.

    Raises:
        ValueError: It is not a size.
    """
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < size < 2**63:
        raise ValueError(f"“{text}” is not a size; write for example 20G or 512M")
    return size
