# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing in a thread, so that the next bytes can come meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from virtlayer.cancellation import settled


class WriteBehind:
    """One write at a time; made by who reads, and ended by who owns the file.

    Args:
        write: Writes all of some memory, which stays as it is until that has landed.
    """

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blob")
        self._last: Future[None] | None = None

    def begin(self, data: memoryview) -> None:
        """Write some memory after all that was begun before.

        Raises:
            OSError: What was begun before could not be written.
        """
        self.land()
        self._last = self._thread.submit(self._write, data)

    def land(self) -> None:
        """Wait for what was begun.

        Raises:
            OSError: It could not be written.
        """
        if self._last is not None:
            self._last.result()
            self._last = None

    async def ended(self) -> None:
        """Wait until nothing is written any more, whether or not that worked."""
        if self._last is not None:
            await settled(asyncio.wrap_future(self._last))
        self._thread.shutdown()
