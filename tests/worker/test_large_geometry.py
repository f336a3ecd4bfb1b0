# SPDX-License-Identifier: LGPL-2.1-or-later
"""The counts of very large file systems, without the gigabytes that formatting one writes.

What is formatted at these sizes was checked with e2fsck by hand: 16, 17, 33 and 63 TiB.
"""

import pytest

from virtlayer.sizes import LARGEST_VIRTUAL_SIZE, TIB
from virtlayer.worker.ext4.blocks import BLOCK_SIZE
from virtlayer.worker.ext4.format import _geometry
from virtlayer.worker.ext4.library import lib


@pytest.mark.parametrize("size", [16 * TIB, 17 * TIB, LARGEST_VIRTUAL_SIZE])
def test_counts_are_not_cut_to_32_bits(size: int) -> None:
    geometry = _geometry(size)
    assert lib.ext2fs_blocks_count(geometry) == size // BLOCK_SIZE
    assert geometry.s_inodes_count == size // 16384
