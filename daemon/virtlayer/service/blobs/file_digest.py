# SPDX-License-Identifier: LGPL-2.1-or-later
"""The digest of a file, as it is compared once with each blob that is found in the cache.

Hashing happens in threads. A thread uses the descriptor of its caller, so the caller always waits
for it, however it is cancelled.
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
"""The longest time that a cancellation waits for."""


async def digest_of_file(descriptor: int, layer: Layer) -> str:
    """The digest of a file that is as long as the blob of ``layer``."""
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
