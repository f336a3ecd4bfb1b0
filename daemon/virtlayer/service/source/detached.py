# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work in a thread of its own, for system calls that may never return.

asyncio.to_thread() has a few threads for everybody: calls that never return would use them up. A
thread of this module stays alone with its call, and does not keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from virtlayer.errors import Busy

_LIMIT = 128
"""Threads at a time: so many calls that never return would need somebody who tries."""
_running: set[threading.Thread] = set()


def detached[T](work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run some work that nobody needs to wait for.

    Args:
        work: Owns all that it uses, because it may go on after its caller has given up.
        name: Of the thread.

    Returns:
        What comes of it, or the exception that it raises.

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
        except Exception as failure:  # whatever it is, its caller decides
            error = failure
        # A loop that is closed by now has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    _running.add(thread)
    return future
