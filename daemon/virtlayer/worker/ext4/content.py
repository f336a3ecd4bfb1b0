# SPDX-License-Identifier: LGPL-2.1-or-later
"""The content of a file that is large, has holes, or comes in pieces, on its way to its blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtlayer.worker.ext4.blocks import BLOCK_SIZE, Run
from virtlayer.worker.ext4.library import check, ffi, lib

if TYPE_CHECKING:
    from virtlayer.worker.tree import Content


def write_content(
    channel: Any, content: Content, segments: list[tuple[int, int]], runs: list[Run]
) -> None:
    """Send the data to its blocks, with zeroes where a block is not filled.

    Args:
        channel: The io_channel.
        content: The data.
        segments: Offset and length in bytes of each stretch of it, ascending.
        runs: The blocks that they touch, ascending.

    Raises:
        Ext4Error: The server failed.
    """
    position = 0
    pending = iter(segments)
    offset, length = next(pending, (0, 0))
    for logical, physical, count in runs:
        shift = (physical - logical) * BLOCK_SIZE
        position, end = logical * BLOCK_SIZE, (logical + count) * BLOCK_SIZE
        while position < end:
            while not length:
                offset, length = next(pending, (end, 2**62))
            if offset > position:
                gap = min(offset, end) - position
                check(lib.vl_nbd_write_zeroes(channel, position + shift, gap))
                position += gap
                continue
            part = min(length, end - position)
            for piece in content.pieces(part):
                put(channel, position + shift, piece)
                position += len(piece)
            offset, length = offset + part, length - part


def put(channel: Any, offset: int, data: memoryview) -> None:
    """Send bytes to a place.

    Args:
        channel: The io_channel.
        offset: In bytes.
        data: The bytes.

    Raises:
        Ext4Error: The server failed.
    """
    check(lib.vl_nbd_write_data(channel, offset, ffi.from_buffer(data), len(data)))
