# SPDX-License-Identifier: LGPL-2.1-or-later
"""A blob that can be read while it is downloaded, before its digest is verified."""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from virtlayer.cancellation import meanwhile
from virtlayer.service.blobs.recent_bytes import RecentBytes


class GrowingBlob:
    """The file of a blob, complete or with the part downloaded so far.

    Args:
        descriptor: The descriptor of the file, for reading, at offset 0.
        recent: The memory with its last bytes, if its writer shares it; freed after the download.
    """

    def __init__(self, descriptor: int, recent: RecentBytes | None = None) -> None:
        self.descriptor = descriptor
        self.recent = recent
        self._readable = 0
        self._verified: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    @classmethod
    def complete(cls, descriptor: int, size: int) -> Self:
        """Return a blob that is complete and verified."""
        blob = cls(descriptor)
        blob._readable = size
        blob._verified.set_result(None)
        return blob

    @property
    def is_over(self) -> bool:
        """Whether the download has ended, successfully or with an error."""
        return self._verified.done()

    async def verified(self) -> None:
        """Wait until the blob is complete and its digest is verified.

        Raises:
            VirtlayerError: It cannot be downloaded, or does not match its digest.
        """
        await asyncio.shield(self._verified)

    async def readable(self, beyond: int) -> int:
        """Wait until more of it can be read.

        Args:
            beyond: The number of bytes that the caller already knows to be readable.

        Returns:
            The number of readable bytes; ``beyond`` if the blob is complete and verified.

        Raises:
            VirtlayerError: It cannot be downloaded, or does not match its digest.
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
        """Write the blob in a task for as long as the context lasts.

        Args:
            write: Writes and verifies the blob, and calls ``grow`` for each chunk. Its errors are
                raised where the blob is awaited.

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
            # What keeps the error would keep the shared memory, too.
            _clear_frames(error)
            self._verified.set_exception(error)
            self._verified.exception()  # mark as retrieved, even without a waiter
        else:
            self._verified.set_result(None)
        finally:
            self._verified.cancel()
            self.recent = None
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _clear_frames(error: BaseException | None) -> None:
    """Forget the local variables of functions that an error and its causes have left."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
