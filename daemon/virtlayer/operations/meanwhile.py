# SPDX-License-Identifier: LGPL-2.1-or-later
"""Something that is done while something else is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine

from virtlayer.source.arrival import settled


@contextlib.asynccontextmanager
async def meanwhile[T](work: Coroutine[object, object, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Begin with a piece of work; when the context is left, it is over, or cancelled.

    Whoever wants what comes of it, or why nothing does, awaits the task within the context.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await settled(task)
