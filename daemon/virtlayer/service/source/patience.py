# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long skopeo is waited for: as long as there is progress, but for a registry's small answers.

A registry must answer a small question in time. A local source can be an archive that skopeo
unpacks first, which takes as long as it takes: then what skopeo reads and writes is progress.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from virtlayer.cancellation import meanwhile

type Progress = Callable[[], int]
"""A number that changes when there is progress."""

_LOOKS = 10
"""How often there is a look at the progress before patience runs out."""


@contextlib.asynccontextmanager
async def patiently(seconds: float, progress: Progress | None = None) -> AsyncIterator[None]:
    """End what happens in the context when there is no progress.

    Args:
        seconds: How long, since the beginning or since the last progress.
        progress: What tells of progress; None if the beginning alone counts.

    Raises:
        TimeoutError: There was none.
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
