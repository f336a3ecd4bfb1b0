# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work whose end is waited for, however often the one who waits is cancelled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine


async def settled[T](work: asyncio.Future[T]) -> None:
    """Wait for the end of some work, come what may, because it uses what its caller owns."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    if not work.cancelled():
        work.exception()  # Seen here, so that asyncio does not report it as forgotten.


async def to_completion[T](step: Coroutine[object, object, T]) -> T:
    """Await a short step that must not be left half done: half would be worse than all of it.

    A cancellation that arrives meanwhile takes effect when the step is over.

    Raises:
        asyncio.CancelledError: The caller was cancelled; the step has ended all the same.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise


@contextlib.asynccontextmanager
async def meanwhile[T](work: Coroutine[object, object, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Begin with a piece of work; when the context is left, it is over, or cancelled.

    To get its result or its error, await the task within the context.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await settled(task)


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others' work: tasks that are cancelled for it raise nothing."""
    error = group.exceptions[0]
    return first_failure(error) if isinstance(error, BaseExceptionGroup) else error
