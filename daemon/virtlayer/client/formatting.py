# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes as people write them."""

import re

from virtlayer.sizes import GIB, KIB, MIB, TIB, check_virtual_size

_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?", re.ASCII)


def parse_size(text: str) -> int:
    """A size such as ``20G`` or ``512MiB`` in bytes; units are powers of 1024, as qemu-img's are.

    Raises:
        ValueError: It is not a size.
    """
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < size < 2**63:
        raise ValueError(f'"{text}" is not a size; write for example 20G or 512M')
    return size


def parse_virtual_size(text: str) -> int:
    """A virtual size of a volume, such as ``20G``, in bytes.

    Raises:
        ValueError: It is not a size.
        InvalidArgument: A volume cannot have this size.
    """
    size = parse_size(text)
    check_virtual_size("size", size)
    return size
