# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for the end of work, even if the waiting task is cancelled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


async def settled[T](work: asyncio.Future[T]) -> None:
    """Wait for the end of some work, also when cancelled, because it uses objects of its caller."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    if not work.cancelled():
        work.exception()  # Seen here, so that asyncio does not report it as forgotten.


async def stopped(*tasks: asyncio.Future[Any]) -> None:
    """Cancel some work, and wait for its end.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; the work has ended all the same.
    """
    for task in tasks:
        task.cancel()
    was_cancelled = False
    for task in tasks:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                was_cancelled = True
        if not task.cancelled():
            task.exception()  # Seen here, so that asyncio does not report it as forgotten.
    if was_cancelled:
        raise asyncio.CancelledError


async def to_completion[T](step: Coroutine[object, object, T]) -> T:
    """Await a short step that must be completed once it has begun.

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
    """Start some work; when the context is left, it has ended or is cancelled.

    To get its result or its error, await the task within the context.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await stopped(task)


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that caused the cancellation of the other tasks."""
    error = group.exceptions[0]
    return first_failure(error) if isinstance(error, BaseExceptionGroup) else error
