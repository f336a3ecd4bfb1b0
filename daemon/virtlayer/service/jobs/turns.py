# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots for expensive work, such as programs: users take turns.

Free slots are given to the waiting users in turn, so that a user's many requests delay those of
another user by one request at most. A user who has no slot does not even wait for that: such a user
gets a slot beyond the limit, up to twice the limit.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class Turns:
    """The slots for all users. One event loop owns it.

    Args:
        limit: How many slots there are, at least 1.
        per_user: How many of them one user can have; None for all of them.
    """

    def __init__(self, limit: int, per_user: int | None = None) -> None:
        self._limit = limit
        self._per_user = limit if per_user is None else per_user
        self._taken: Counter[int] = Counter()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        """By uid, in the order of their turns."""

    @contextlib.asynccontextmanager
    async def slot(self, uid: int) -> AsyncIterator[None]:
        """Wait for a slot, and have it for as long as the context lasts.

        Args:
            uid: Of the user on whose behalf the work is done.
        """
        await self._acquire(uid)
        try:
            yield
        finally:
            self._release(uid)

    async def _acquire(self, uid: int) -> None:
        if uid not in self._waiting and self._has_room(uid):
            self._taken[uid] += 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(uid, deque()).append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.cancelled():
                self._forget(uid, given)
            else:
                # The slot was given in the same turn of the event loop.
                self._release(uid)
            raise

    def _release(self, uid: int) -> None:
        self._taken[uid] -= 1
        if not self._taken[uid]:
            del self._taken[uid]
        self._give()

    def _give(self) -> None:
        """Give free slots to those whose turn it is."""
        while (uid := next(filter(self._has_room, self._waiting), None)) is not None:
            queue = self._waiting.pop(uid)
            given = queue.popleft()
            if queue:
                # At the end of the queue.
                self._waiting[uid] = queue
            # A request whose task is being cancelled is still in the queue.
            if not given.cancelled():
                self._taken[uid] += 1
                given.set_result(None)

    def _has_room(self, uid: int) -> bool:
        taken = self._taken.total()
        if not self._taken[uid]:
            return taken < 2 * self._limit
        return taken < self._limit and self._taken[uid] < self._per_user

    def _forget(self, uid: int, given: asyncio.Future[None]) -> None:
        queue = self._waiting.get(uid, deque())
        if given in queue:
            queue.remove(given)
        if not queue:
            self._waiting.pop(uid, None)
