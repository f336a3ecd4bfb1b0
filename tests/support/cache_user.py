# SPDX-License-Identifier: LGPL-2.1-or-later
"""Uses a blob cache: ``python -m tests.support.cache_user DIRECTORY SIZE_LIMIT SEED``.

It fetches blobs in an order that follows from the seed, checks what it gets, and exits with 0.
"""

import asyncio
import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.blob_users import User
from tests.support.receiving import receive
from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.source.image import Layer
from virtlayer.service.source.skopeo_pipe import Receiver
from virtlayer.sizes import MIB

CONTENTS = tuple(bytes([number]) * (MIB + number) for number in range(6))


class _Stream:
    is_compared = False

    def __init__(self, content: bytes) -> None:
        self._rest = content

    async def receive(self, output: Receiver) -> int:
        await asyncio.sleep(0)
        piece, self._rest = self._rest[:100_000], self._rest[100_000:]
        return receive(piece, output)


@contextlib.asynccontextmanager
async def _download(content: bytes) -> AsyncIterator[_Stream]:
    yield _Stream(content)


async def use(directory: Path, size_limit: int, seed: int) -> None:
    """Fetch in turn, and compare."""
    cache = BlobCache(directory, size_limit)
    for turn in range(40):
        content = CONTENTS[(turn * seed + seed) % len(CONTENTS)]
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        layer = Layer(digest, len(content), "", digest)
        async with cache.fetch(
            layer,
            functools.partial(_download, content),
            User(),
            keep=True,
            on_bytes=lambda _: None,
        ) as blob:
            await blob.verified()
            if os.pread(blob.descriptor, len(content) + 1, 0) != content:
                raise AssertionError(f"other bytes in turn {turn}")


if __name__ == "__main__":
    asyncio.run(use(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
