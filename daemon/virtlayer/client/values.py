# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parses values of arguments. Each function is the type of an argument."""

import re
from argparse import ArgumentTypeError

from virtlayer.errors import InvalidArgument
from virtlayer.sizes import GIB, KIB, MIB, TIB, check_virtual_size

SMALLEST_MEMORY = 16 * MIB
"""The minimum for a kernel; a smaller number was probably meant in another unit."""

_UNITS = {"K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SIZE = re.compile(r"([0-9]+)(?:([KMGT])(?:I?B)?)?", re.ASCII | re.IGNORECASE)
_LARGEST = 2**63


def virtual_size(text: str) -> int:
    """Return the bytes of a virtual size, such as ``20G``. The unit is required."""
    size = _size(text, default_unit=None)
    try:
        check_virtual_size("size", size)
    except InvalidArgument as error:
        raise ArgumentTypeError(error.message) from None
    return size


def memory(text: str) -> int:
    """Return the bytes of a machine's memory, such as ``2G``; MiB without a unit."""
    size = _size(text, default_unit=MIB)
    if size < SMALLEST_MEMORY:
        raise ArgumentTypeError(f'"{text}" is too little: the minimum is 16 MiB.')
    return size


def job_id(text: str) -> int:
    """Return the ID of a job."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**32):
        raise ArgumentTypeError(f'"{text}" is not a job ID. See "virtlayer jobs".')
    return int(text)


def seconds(text: str) -> int:
    """Return a number of seconds."""
    if not (text.isascii() and text.isdecimal() and int(text) < 2**32):
        raise ArgumentTypeError(f'"{text}" is not a number of seconds.')
    return int(text)


def line_count(text: str) -> int:
    """Return a number of lines."""
    if not (text.isascii() and text.isdecimal() and int(text) < _LARGEST):
        raise ArgumentTypeError(f'"{text}" is not a number of lines.')
    return int(text)


def boolean(text: str) -> bool:
    """Return the value of ``true`` or ``false``."""
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ArgumentTypeError(f'"{text}" is not true or false.') from None


def _size(text: str, *, default_unit: int | None) -> int:
    match = _SIZE.fullmatch(text)
    unit = _UNITS[match[2].upper()] if match and match[2] else default_unit
    if match and unit is None:
        raise ArgumentTypeError(f'Invalid size "{text}": add a unit, for example {text}G.')
    size = int(match[1]) * unit if match and unit is not None else 0
    if not 0 < size < _LARGEST:
        raise ArgumentTypeError(f'Invalid size "{text}". Examples: 20G, 512M.')
    return size
