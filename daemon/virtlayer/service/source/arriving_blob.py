# SPDX-License-Identifier: LGPL-2.1-or-later
"""A blob that can be read while it arrives, before anybody knows whether it is the right one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Self

from virtlayer.cancellation import meanwhile

type Fill = Callable[[Callable[[int], None]], Coroutine[None, None, None]]
"""Writes a blob to its file and compares its digest; what it is given is told each step."""


class Blob:
    """A blob that is lent: all of it, or as much as has arrived.

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
        """Whether all has arrived that will."""
        return self._verified.done()

    async def verified(self) -> None:
        """Wait until all of it is there, and its digest right.

        Raises:
            VirtlayerError: It does not come, or is something else.
        """
        await asyncio.shield(self._verified)

    async def readable(self, beyond: int) -> int:
        """Wait until more of it can be read.

        Args:
            beyond: The bytes that the caller knows of.

        Returns:
            How many can be read now; ``beyond`` when those are all, and right.

        Raises:
            VirtlayerError: It does not come, or is something else.
        """
        while self._readable <= beyond and not self.is_over:
            await self._changed.wait()
        if self._readable <= beyond:
            await self.verified()
        return self._readable

    async def arrive(self, fill: Fill) -> None:
        """Fill it; whoever waits hears of the outcome."""
        try:
            await fill(self._grow)
        # Whatever it is: who waits would wait for ever if it were kept from him.
        except Exception as error:
            self._verified.set_exception(error)
            self._verified.exception()  # seen, even if nobody waits for it any more
        else:
            self._verified.set_result(None)
        finally:
            self._verified.cancel()
            self._wake()

    def _grow(self, size: int) -> None:
        self._readable += size
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@contextlib.asynccontextmanager
async def arriving(descriptor: int, fill: Fill) -> AsyncIterator[Blob]:
    """Lend a blob while it arrives; the end of the context ends that as well.

    Args:
        descriptor: Its file, for reading, at offset 0.
        fill: Writes that file.
    """
    blob = Blob(descriptor)
    async with meanwhile(blob.arrive(fill)):
        yield blob
