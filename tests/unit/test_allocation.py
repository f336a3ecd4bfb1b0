# SPDX-License-Identifier: LGPL-2.1-or-later
"""Large blocks go back to the system when they are freed."""

import subprocess
import sys

import pytest

from virtlayer import allocation
from virtlayer.sizes import KIB, MIB

USE = """
from pathlib import Path
from virtlayer import allocation

def heap():
    [line] = [line for line in Path("/proc/self/maps").read_text().splitlines() if "[heap]" in line]
    start, end = line.split()[0].split("-")
    return int(end, 16) - int(start, 16)

allocation.map_from(256 * 1024)
before = heap()
bytes(8 * 1024 * 1024)
kept = [bytes(1024 * 1024) for _ in range(16)]
print(heap() - before)
"""


def test_large_blocks_are_no_part_of_the_heap_after_larger_ones_were_freed() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, check=True)
    assert int(done.stdout) < MIB


@pytest.mark.parametrize("size", [0, -KIB, 2**31, 2**70])
def test_invalid_size_is_refused(size: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        allocation.map_from(size)
    with pytest.raises((ValueError, OverflowError)):
        allocation.keep_freed(size)
