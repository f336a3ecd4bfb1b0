# SPDX-License-Identifier: LGPL-2.1-or-later
"""The download of a blob, and for whom it is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from virtlayer.service.source.blob_writing import Opener, fill
from virtlayer.service.source.image import Layer


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
class Transfer:
    """A download that may be needed.

    Attributes:
        layer: Whose blob.
        download: Opens the stream that the blob comes from.
        borrower: Who needs it.
        on_bytes: Told how many more bytes are here.
    """

    layer: Layer
    download: Opener
    borrower: Borrower
    on_bytes: Callable[[int], None]

    async def may_be_left_out(self) -> bool:
        """Whether the borrower may use the blob without downloading it."""
        return self.layer.digest in await self.borrower.may_use([self.layer.digest])

    async def run(self, file: int, reader: int, on_written: Callable[[int], None]) -> None:
        """Write the download to an empty file (``blob_writing.fill``), and note whose it is."""

        def count(length: int) -> None:
            self.on_bytes(length)
            on_written(length)

        await fill(file, reader, self.layer, self.download, count)
        await self.borrower.downloaded(self.layer.digest)
