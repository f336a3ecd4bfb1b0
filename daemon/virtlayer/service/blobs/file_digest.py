# SPDX-License-Identifier: LGPL-2.1-or-later
"""Computes the digest of a file, to verify each blob in the cache once.

Files are hashed in threads. A thread uses the descriptor of its caller, so the caller always waits
for the thread, even if it is cancelled.
"""

import asyncio
import hashlib
import os

from virtlayer.cancellation import settled
from virtlayer.service.source.digest import hasher
from virtlayer.service.source.image import Layer
from virtlayer.sizes import MIB

_CHUNK = MIB
_HASHED_AT_ONCE = 64 * MIB
"""The bytes hashed by one call in a thread, which limit the wait of a cancellation."""


async def digest_of_file(descriptor: int, layer: Layer) -> str:
    """Return the digest of a file that is as long as the blob of ``layer``."""
    hashing = hasher(layer.digest)
    for start in range(0, layer.size, _HASHED_AT_ONCE):
        working = asyncio.ensure_future(
            asyncio.to_thread(_hash_range, descriptor, hashing, start, start + _HASHED_AT_ONCE)
        )
        try:
            await asyncio.shield(working)
        finally:
            await settled(working)
    return f"{hashing.name}:{hashing.hexdigest()}"


def _hash_range(descriptor: int, hashing: "hashlib._Hash", start: int, end: int) -> None:
    while start < end and (data := os.pread(descriptor, min(_CHUNK, end - start), start)):
        hashing.update(data)
        start += len(data)
