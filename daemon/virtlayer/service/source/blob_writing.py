# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files and digests: a download is compared while it is written, and a file when it is read again.

skopeo compares the digest of what it sends, so it is not hashed once more where skopeo's word
counts as our own. Hashing and writing happen in threads. A thread uses the descriptor of its
caller, so the caller always waits for it, however it is cancelled.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from virtlayer.cancellation import settled
from virtlayer.errors import Internal, NoSpace
from virtlayer.service.source.blob_file import BlobFile
from virtlayer.service.source.digest import hasher
from virtlayer.service.source.image import Layer
from virtlayer.service.source.proxy import Output
from virtlayer.settings import MIB

_CHUNK = MIB
_HASHED_AT_ONCE = 64 * MIB
"""What a cancellation waits for at most."""


class Download(Protocol):
    """The bytes of a blob, on their way."""

    is_compared: bool
    """Whether the end comes only after somebody who can be relied on found the digest right."""

    async def pour(self, output: Output) -> int:
        """Have some bytes written, in a thread; how many, which is 0 at the end.

        Whatever happens, nothing is written after the call has ended.
        """


type Opener = Callable[[], AbstractAsyncContextManager[Download]]


async def fill(
    descriptor: int,
    reader: int,
    layer: Layer,
    download: Opener,
    on_written: Callable[[int], None],
) -> None:
    """Write a download to an empty file, and see to it that its digest is compared.

    Args:
        descriptor: The file.
        reader: The same file as it is read meanwhile.
        layer: Whose blob it should be.
        download: Opens the stream that it comes from.
        on_written: Told how many more bytes are in the file.

    Raises:
        DigestMismatch: It is something else.
        NoSpace: The file system of the file is full.
        Internal: The file cannot be written for another reason.
    """
    told = 0
    try:
        async with download() as stream:
            output = BlobFile(descriptor, reader, layer, hashed=not stream.is_compared)
            try:
                while await stream.pour(output):
                    on_written(output.written - told)
                    told = output.written
                output.check()
            finally:
                await output.ended()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(
                f"The blob cache has no room for {layer.digest} ({layer.size} bytes). "
                "Make room, or lower size-limit in the settings."
            ) from error
        raise Internal(
            f"Blob {layer.digest} could not be put into the blob cache: {error.strerror or error}. "
            "See to the disk of the cache, then try again."
        ) from error


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
