# SPDX-License-Identifier: LGPL-2.1-or-later
"""Downloads one blob to one file: from a stream of skopeo to a writer.

skopeo compares the digest of what it sends, so it is not hashed once more where skopeo's word
counts as our own.
"""

import errno
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from virtlayer.errors import Internal, NoSpace
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.blobs.writer import BlobWriter
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


class BlobUser(Protocol):
    """A user of blobs.

    Attributes:
        source: Where the blobs are downloaded from: two with the same may use the same blobs.
    """

    source: str

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of the digests of blobs that may be used without a download."""

    async def downloaded(self, digest: str) -> None:
        """Note that a blob was downloaded, and was right, before others can use it."""


@dataclass(frozen=True, slots=True)
class Download:
    """A download that may be needed.

    Attributes:
        layer: Whose blob.
        open_stream: Opens the stream that the blob comes from.
        user: Who needs it.
        on_bytes: Told how many more bytes are here.
    """

    layer: Layer
    open_stream: OpenStream
    user: BlobUser
    on_bytes: Callable[[int], None]

    async def may_be_left_out(self) -> bool:
        """Whether the user may have the blob without downloading it."""
        return self.layer.digest in await self.user.may_use([self.layer.digest])

    async def run(self, file: int, blob: GrowingBlob) -> None:
        """Write the blob to an empty file, and note whose it is.

        Args:
            file: The file, for writing.
            blob: The same file as it is read meanwhile.

        Raises:
            DigestMismatch: It is something else.
            NoSpace: The file system of the file is full.
            Internal: The file cannot be written for another reason.
        """
        try:
            async with self.open_stream() as stream:
                await self._write(stream, file, blob)
        except OSError as error:
            raise self._explained(error) from error
        await self.user.downloaded(self.layer.digest)

    async def _write(self, stream: Stream, file: int, blob: GrowingBlob) -> None:
        hashed = not stream.is_compared
        writer = BlobWriter(file, blob.descriptor, self.layer, hashed=hashed)
        counted = 0
        try:
            while await stream.receive(writer):
                self.on_bytes(writer.written - counted)
                blob.grow(writer.written - counted)
                counted = writer.written
            writer.check()
        finally:
            await writer.finish()

    def _explained(self, error: OSError) -> Internal | NoSpace:
        digest = self.layer.digest
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return NoSpace(
                f"The blob cache has no space for {digest} ({human_size(self.layer.size)}). Free "
                "some space, or lower cache.size-limit in virtlayerd.toml."
            )
        return Internal(
            f"Cannot store {digest} in the blob cache: {error.strerror or error}. Check the "
            "disk of the cache, then try again."
        )
