# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets one call of each user begin in every turn of the event loop.

So the calls of a user delay the call of another user by one call at most, whatever their number and
duration.
"""

import asyncio
from collections import deque


class Rounds:
    """Calls that wait to begin, by their users."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    async def turn(self, uid: int) -> None:
        """Wait until a call of this user may begin."""
        begins: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._begin_one_of_each)
        self._waiting.setdefault(uid, deque()).append(begins)
        await begins

    def _begin_one_of_each(self) -> None:
        for uid, queue in list(self._waiting.items()):
            begins = queue.popleft()
            if not begins.cancelled():
                begins.set_result(None)
            if not queue:
                del self._waiting[uid]
        if self._waiting:
            self._loop.call_soon(self._begin_one_of_each)
