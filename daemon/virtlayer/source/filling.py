# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files and digests: a download is hashed while it is written, and a file when it is read again.

Hashing and writing happen in threads. A thread uses the descriptor of its caller, so the caller
always waits for it, however it is cancelled.
"""

import asyncio
import errno
import hashlib
import itertools
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

    async def read_into(self, buffer: memoryview) -> int:
        """Read some bytes; how many, which is 0 at the end."""


type Opener = Callable[[], AbstractAsyncContextManager[Download]]


async def fill(
    descriptor: int,
    layer: Layer,
    download: Opener,
    on_bytes: Callable[[int], None],
    on_written: Callable[[int], None],
) -> None:
    """Write a download to an empty file, and compare its digest on the way.

    Args:
        descriptor: The file.
        layer: Whose blob it should be.
        download: Opens the stream that it comes from.
        on_bytes: Told how many more bytes have arrived.
        on_written: Told how many more bytes are in the file.

    Raises:
        DigestMismatch: It is something else.
        NoSpace: The file system of the file is full.
        Internal: The file cannot be written for another reason.
    """
    hashing = hasher(layer.digest)
    output = _Output(descriptor, large=layer.size >= LARGE)
    received = 0
    writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writing.set_result(None)

    async def write(data: memoryview) -> None:
        await asyncio.to_thread(_append, output, hashing, data)
        on_written(len(data))

    # One is hashed and written while the other one fills. New memory for each chunk would cost more
    # than reading it.
    buffers = itertools.cycle([memoryview(bytearray(_CHUNK)), memoryview(bytearray(_CHUNK))])
    try:
        async with download() as stream:
            complete = False
            while not complete:
                buffer, used = next(buffers), 0
                while used < _CHUNK and not complete:
                    # One byte more than there should be, which shows that there are too many.
                    wanted = min(_CHUNK, used + layer.size - received + 1)
                    length = await stream.read_into(buffer[used:wanted])
                    complete = not length
                    used += length
                    received += length
                    if received > layer.size:
                        raise _mismatch(layer)
                    on_bytes(length)
                await asyncio.shield(writing)
                writing = asyncio.create_task(write(buffer[:used]))
            await asyncio.shield(writing)
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
    finally:
        await settled(writing)
    if received != layer.size or f"{hashing.name}:{hashing.hexdigest()}" != layer.digest:
        raise _mismatch(layer)


class _Output:
    """A file that is written from its beginning to its end.

    Args:
        descriptor: The file.
        large: Whether it gets so much that it should not stay in the page cache, where gigabytes
            would have to be made room for, to be read once.
    """

    def __init__(self, descriptor: int, *, large: bool) -> None:
        self._descriptor = descriptor
        self._flags = _RWF_DONTCACHE if large else 0

    def append(self, data: memoryview) -> None:
        """Write these bytes."""
        while data:
            data = data[self._write(data) :]

    def _write(self, data: memoryview) -> int:
        if self._flags:
            try:
                return os.pwritev(self._descriptor, [data], _HERE, self._flags)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._flags = 0
        return os.write(self._descriptor, data)


def _append(output: _Output, hashing: "hashlib._Hash", data: memoryview) -> None:
    hashing.update(data)
    output.append(data)


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
