# SPDX-License-Identifier: LGPL-2.1-or-later
"""A blob that can be read while it is downloaded, before it is known whether it is right."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from virtlayer.cancellation import meanwhile


class GrowingBlob:
    """The file of a blob: all of it, or as much as is downloaded.

    Args:
        descriptor: Its file, for reading, at offset 0.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._readable = 0
        self._verified: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    @classmethod
    def complete(cls, descriptor: int, size: int) -> Self:
        """A blob that is all there, and right."""
        blob = cls(descriptor)
        blob._readable = size
        blob._verified.set_result(None)
        return blob

    @property
    def is_over(self) -> bool:
        """Whether the download has ended, if only by an error."""
        return self._verified.done()

    async def verified(self) -> None:
        """Wait until all of it is there, and its digest right.

        Raises:
            VirtlayerError: It cannot be downloaded, or is something else.
        """
        await asyncio.shield(self._verified)

    async def readable(self, beyond: int) -> int:
        """Wait until more of it can be read.

        Args:
            beyond: The bytes that the caller knows of.

        Returns:
            How many can be read now; ``beyond`` when those are all, and right.

        Raises:
            VirtlayerError: It cannot be downloaded, or is something else.
        """
        while self._readable <= beyond and not self.is_over:
            await self._changed.wait()
        if self._readable <= beyond:
            await self.verified()
        return self._readable

    def grow(self, size: int) -> None:
        """Make this number of further bytes readable; for the writer of the file."""
        self._readable += size
        self._wake()

    @contextlib.asynccontextmanager
    async def written(self, write: Callable[[], Awaitable[None]]) -> AsyncIterator[Self]:
        """Have the blob written for as long as the context lasts.

        Args:
            write: Writes and verifies it, and calls ``grow`` for each piece. What it raises is for
                those who wait for the blob.

        Yields:
            The blob.
        """
        async with meanwhile(self._written(write)):
            yield self

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        # Any error: otherwise waiters would block forever.
        except Exception as error:
            self._verified.set_exception(error)
            self._verified.exception()  # seen, even if nobody waits for it
        else:
            self._verified.set_result(None)
        finally:
            self._verified.cancel()
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
