# SPDX-License-Identifier: LGPL-2.1-or-later
"""Steps that a cancellation waits for, because half of one would be worse than all of it."""

import asyncio
import contextlib
from collections.abc import Coroutine


async def to_completion[T](step: Coroutine[object, object, T]) -> T:
    """Await a short step that must not be left half done.

    A cancellation that arrives meanwhile takes effect when the step is over.

    Raises:
        asyncio.CancelledError: The caller was cancelled; the step has ended all the same.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Seen here, so that asyncio does not report it as forgotten.
        raise
