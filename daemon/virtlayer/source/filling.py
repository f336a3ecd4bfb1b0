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

from virtlayer.completion import settled
from virtlayer.config import LARGE, MIB
from virtlayer.errors import DigestMismatch, Internal, NoSpace
from virtlayer.source.digest import hasher
from virtlayer.source.image import Layer

_CHUNK = MIB
_HASHED_AT_ONCE = 64 * MIB
"""What a cancellation waits for at most."""
_RWF_DONTCACHE = 0x80
"""pwritev2(2): pages are freed when they are on disk. Since Linux 6.14; os has no name for it."""
_HERE = -1
"""pwritev2(2): at the file's own offset, which moves."""
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems and older kernels say to that."""


class Download(Protocol):
    """The bytes of a blob, on their way."""

    is_compared: bool
    """Whether the end comes only after somebody who can be relied on found the digest right."""

    async def pour(self, write: Callable[[memoryview], None]) -> int:
        """Have some bytes written, in a thread; how many, which is 0 at the end.

        Whatever happens, nothing is written after the call has ended.
        """


type Opener = Callable[[], AbstractAsyncContextManager[Download]]


async def fill(
    descriptor: int, layer: Layer, download: Opener, on_written: Callable[[int], None]
) -> None:
    """Write a download to an empty file, and see to it that its digest is compared.

    Args:
        descriptor: The file.
        layer: Whose blob it should be.
        download: Opens the stream that it comes from.
        on_written: Told how many more bytes are in the file.

    Raises:
        DigestMismatch: It is something else.
        NoSpace: The file system of the file is full.
        Internal: The file cannot be written for another reason.
    """
    try:
        async with download() as stream:
            output = _Output(descriptor, layer, hashed=not stream.is_compared)
            while length := await stream.pour(output.append):
                on_written(length)
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
    output.check()


class _Output:
    """The file of a blob, written from its beginning to its end.

    Args:
        descriptor: The file.
        layer: Whose blob it should be.
        hashed: Whether its digest is compared here.
    """

    def __init__(self, descriptor: int, layer: Layer, *, hashed: bool) -> None:
        self._descriptor = descriptor
        self._layer = layer
        self._missing = layer.size
        self._hashing = hasher(layer.digest) if hashed else None
        # What is so large should not stay in the page cache, where gigabytes would have to be made
        # room for, to be read once.
        self._flags = _RWF_DONTCACHE if layer.size >= LARGE else 0

    def append(self, data: memoryview) -> None:
        """Write these bytes.

        Raises:
            DigestMismatch: They are more than there should be.
            OSError: They cannot be written.
        """
        self._missing -= len(data)
        if self._missing < 0:
            raise _mismatch(self._layer)
        if self._hashing is not None:
            self._hashing.update(data)
        while data:
            data = data[self._write(data) :]

    def check(self) -> None:
        """Find that everything was written, and is right where that is for us to see.

        Raises:
            DigestMismatch: It is not the blob.
        """
        if self._missing or (
            self._hashing is not None
            and f"{self._hashing.name}:{self._hashing.hexdigest()}" != self._layer.digest
        ):
            raise _mismatch(self._layer)

    def _write(self, data: memoryview) -> int:
        if self._flags:
            try:
                return os.pwritev(self._descriptor, [data], _HERE, self._flags)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._flags = 0
        return os.write(self._descriptor, data)


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


def _mismatch(layer: Layer) -> DigestMismatch:
    return DigestMismatch(
        f"What was downloaded as blob {layer.digest} is not that blob. The registry's copy is "
        "damaged or was tampered with; have the image pushed again."
    )
