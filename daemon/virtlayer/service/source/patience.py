# SPDX-License-Identifier: LGPL-2.1-or-later
"""Timeouts for skopeo.

A registry must answer a small request in time. A local source can be an archive that skopeo
unpacks first, which may take any time. Then each byte that skopeo reads or writes is progress.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from virtlayer.cancellation import meanwhile

type Progress = Callable[[], int]
"""A number that changes when there is progress."""

_LOOKS = 10
"""The number of checks for progress within the timeout."""


@contextlib.asynccontextmanager
async def patiently(seconds: float, progress: Progress | None = None) -> AsyncIterator[None]:
    """Cancel the body of the context when there is no progress.

    Args:
        seconds: The timeout, since the start or since the last progress.
        progress: A progress counter; None to count from the start only.

    Raises:
        TimeoutError: There was no progress.
    """
    async with asyncio.timeout(seconds) as deadline:
        if progress is None:
            yield
            return
        async with meanwhile(_extended(deadline, seconds, progress)):
            yield


async def _extended(deadline: asyncio.Timeout, seconds: float, progress: Progress) -> None:
    before = progress()
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        now = progress()
        if now != before and not deadline.expired():
            before = now
            deadline.reschedule(asyncio.get_running_loop().time() + seconds)
