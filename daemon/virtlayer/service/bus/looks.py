# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks pools for callers, without waiting for a pool that does not respond."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

_PATIENCE = 2.0
"""Seconds that a caller waits. After that, the earlier result is used."""


class Looks:
    """Runs one check of a pool at a time; callers that arrive meanwhile share the result.

    Args:
        look: Checks a pool of this name, and raises nothing.
    """

    def __init__(self, look: Callable[[str], Awaitable[None]]) -> None:
        self._look = look
        self._tasks: dict[str, asyncio.Future[None]] = {}
        self._late: set[str] = set()

    async def at(self, pools: Iterable[str]) -> None:
        """Check pools, and wait for the results for a limited time.

        Args:
            pools: Their names. Callers do not wait for a pool whose check has timed out before.
        """
        waiting = []
        for pool in pools:
            if pool not in self._tasks:
                self._begin(pool)
            if pool not in self._late:
                waiting.append(pool)
        tasks = {self._tasks[pool]: pool for pool in waiting}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE)
            self._late.update(tasks[task] for task in late)

    async def close(self) -> None:
        """Cancel the checks that have not ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, pool: str) -> None:
        task = asyncio.ensure_future(self._look(pool))
        self._tasks[pool] = task
        # Done here: a task that is cancelled early never runs its own finally.
        task.add_done_callback(lambda _: self._end(pool))

    def _end(self, pool: str) -> None:
        del self._tasks[pool]
        self._late.discard(pool)
