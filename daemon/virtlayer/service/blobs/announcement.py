# SPDX-License-Identifier: LGPL-2.1-or-later
"""Announces to a worker how much of a blob it can read, while the rest is downloaded.

The worker gets one end of a socket. Each packet contains the number of readable bytes as an 8-byte
little-endian integer, which may be smaller than an earlier one. After the last packet, the blob is
complete or its download has failed; the worker does not need to know which. If the download shares
memory, the worker answers with the number of bytes that it has read, after each piece.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from virtlayer.cancellation import meanwhile
from virtlayer.errors import VirtlayerError
from virtlayer.service.blobs.growing_blob import GrowingBlob


@contextlib.asynccontextmanager
async def announced(blob: GrowingBlob) -> AsyncIterator[int]:
    """Announce the bytes of a blob for as long as the context lasts.

    Yields:
        A descriptor of the worker's end.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        recent = blob.recent
        with contextlib.nullcontext() if recent is None else recent.followed(ours):
            async with meanwhile(_announce(blob, ours)):
                yield theirs.fileno()


async def _announce(blob: GrowingBlob, worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    told = 0
    try:
        # The download's error is raised elsewhere; a worker that has ended reports its own.
        with contextlib.suppress(VirtlayerError, BrokenPipeError):
            while (size := await blob.readable(told)) > told:
                await loop.sock_sendall(worker, size.to_bytes(8, "little"))
                told = size
    finally:
        worker.shutdown(socket.SHUT_WR)
