# SPDX-License-Identifier: LGPL-2.1-or-later
"""The download of one blob to one file: from a stream of skopeo's to a writer.

skopeo compares the digest of what it sends, so it is not hashed once more where skopeo's word
counts as our own.
"""

import errno
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from virtlayer.errors import Internal, NoSpace
from virtlayer.service.source.blob_writer import BlobWriter
from virtlayer.service.source.image import Layer
from virtlayer.service.source.skopeo_pipe import Receiver
from virtlayer.sizes import human_size


class Stream(Protocol):
    """The bytes of a blob, as its source sends them."""

    is_compared: bool
    """Whether the end comes only after somebody who can be relied on found the digest right."""

    async def receive(self, receiver: Receiver) -> int:
        """Give the next bytes to a receiver, in a thread; how many, which is 0 at the end.

        Whatever happens, nothing is written after the call has ended.
        """


type OpenStream = Callable[[], AbstractAsyncContextManager[Stream]]


class Borrower(Protocol):
    """Somebody who needs blobs.

    Attributes:
        source: Where the blobs are downloaded from: two with the same may use the same blobs.
    """

    source: str

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of the digests of blobs that may be used without a download."""

    async def downloaded(self, digest: str) -> None:
        """Note that a blob was downloaded, and was right, before others can use it."""


@dataclass(frozen=True, slots=True)
class BlobDownload:
    """A download that may be needed.

    Attributes:
        layer: Whose blob.
        open_stream: Opens the stream that the blob comes from.
        borrower: Who needs it.
        on_bytes: Told how many more bytes are here.
    """

    layer: Layer
    open_stream: OpenStream
    borrower: Borrower
    on_bytes: Callable[[int], None]

    async def may_be_left_out(self) -> bool:
        """Whether the borrower may use the blob without downloading it."""
        return self.layer.digest in await self.borrower.may_use([self.layer.digest])

    async def run(self, file: int, reader: int, on_written: Callable[[int], None]) -> None:
        """Write the download to an empty file, and note whose it is.

        Args:
            file: The file.
            reader: The same file as it is read meanwhile.
            on_written: Told how many more bytes are in the file.

        Raises:
            DigestMismatch: It is something else.
            NoSpace: The file system of the file is full.
            Internal: The file cannot be written for another reason.
        """

        def count(length: int) -> None:
            self.on_bytes(length)
            on_written(length)

        await _write(file, reader, self.layer, self.open_stream, count)
        await self.borrower.downloaded(self.layer.digest)


async def _write(
    descriptor: int,
    reader: int,
    layer: Layer,
    open_stream: OpenStream,
    on_written: Callable[[int], None],
) -> None:
    told = 0
    try:
        async with open_stream() as stream:
            writer = BlobWriter(descriptor, reader, layer, hashed=not stream.is_compared)
            try:
                while await stream.receive(writer):
                    on_written(writer.written - told)
                    told = writer.written
                writer.check()
            finally:
                await writer.finish()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(
                f"The blob cache has no space for {layer.digest} ({human_size(layer.size)}). Free "
                "some space, or lower cache.size-limit in virtlayerd.toml."
            ) from error
        raise Internal(
            f"Cannot store {layer.digest} in the blob cache: {error.strerror or error}. Check the "
            "disk of the cache, then try again."
        ) from error
