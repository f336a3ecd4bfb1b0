# SPDX-License-Identifier: LGPL-2.1-or-later
"""Downloads one blob to one file: from a stream of skopeo to a writer.

skopeo verifies the digest of the blob. The blob is not hashed again where that verification is
sufficient.
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
    """Whether the end of the data implies that a trusted program has verified the digest."""

    async def receive(self, receiver: Receiver) -> int:
        """Pass the next bytes to a receiver, in a thread; return their number, 0 at the end.

        No bytes are written after the call has ended, even if it fails or is cancelled.
        """


type OpenStream = Callable[[], AbstractAsyncContextManager[Stream]]


class BlobUser(Protocol):
    """A user of blobs.

    Attributes:
        source: The source of the blobs; users with the same source may use the same blobs.
    """

    source: str

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        """Return the digests of those blobs that may be used without a download."""

    async def downloaded(self, digest: str) -> None:
        """Record that a blob was downloaded and verified, before other users can use it."""


@dataclass(frozen=True, slots=True)
class Download:
    """A download that may be needed.

    Attributes:
        layer: The layer of the blob.
        open_stream: Opens the stream of the blob.
        user: The user that needs the blob.
        on_bytes: Called with the number of new bytes.
    """

    layer: Layer
    open_stream: OpenStream
    user: BlobUser
    on_bytes: Callable[[int], None]

    async def may_be_left_out(self) -> bool:
        """Return whether the user may use the blob without downloading it."""
        return self.layer.digest in await self.user.may_use([self.layer.digest])

    async def run(self, file: int, blob: GrowingBlob) -> None:
        """Write the blob to an empty file, and record that its user has downloaded it.

        Args:
            file: The file, for writing.
            blob: The same file for readers during the download.

        Raises:
            DigestMismatch: The data does not match the digest.
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
        writer = BlobWriter(file, blob.descriptor, self.layer, hashed=hashed, recent=blob.recent)
        counted = 0
        try:
            while await stream.receive(writer):
                self.on_bytes(writer.readable - counted)
                blob.grow(writer.readable - counted)
                counted = writer.readable
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
