# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs work in a thread of its own, for system calls that may never return.

asyncio.to_thread() has a few shared threads: calls that never return would occupy all of them. A
thread of this module has one call only, and does not keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from virtlayer.errors import Busy

_LIMIT = 128
"""Limit of parallel threads: only an attack causes this many calls that never return."""
_running: set[threading.Thread] = set()


def detached[T](work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run work that its caller may abandon.

    Args:
        work: Owns all that it uses, because it may go on after its caller has given up.
        name: Of the thread.

    Returns:
        Its result, or the exception that it raises.

    Raises:
        Busy: Too many threads have not ended.
        RuntimeError: There is no room for another thread.
    """
    _running.intersection_update(threading.enumerate())
    if len(_running) >= _LIMIT:
        raise Busy("virtlayerd is reading too many descriptors of callers. Try again later.")
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # of a T that may be None

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as failure:  # any exception: the caller handles it
            error = failure
        # A closed loop has no waiting task.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    _running.add(thread)
    return future
