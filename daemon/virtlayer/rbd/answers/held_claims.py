# SPDX-License-Identifier: LGPL-2.1-or-later
"""The claims and locks that this process holds for its connection, by their numbers.

A claim lasts as long as the other end of a pipe is open. The keeper passes that end on to the
service, so a claim lasts as long as its job, even if the keeper is killed.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from virtlayer.errors import Internal
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.cluster import Cluster
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.pool_lock import PoolLock
from virtlayer.rbd.process_entry import ProcessEntry, addresses_in
from virtlayer.rbd.table import PoolTable
from virtlayer.rbd.takeover import Takeover

CLAIMS_LIMIT = 256
"""Claims and locks together."""


@dataclass(slots=True)
class _Held:
    """A claim.

    Attributes:
        claim: The claim.
        kept: This end of its pipe; readable when nobody has the other end open.
        ending: Ends it.
    """

    claim: Claim
    kept: int
    ending: asyncio.Task[None] | None = None


class HeldClaims:
    """The claims and locks of one connection.

    Args:
        cluster: The open pool.
        numbers: Gives a number to each claim and lock.
        vacate: Removes the staging places of a claim, by its number.
    """

    def __init__(
        self,
        cluster: Cluster,
        numbers: Iterator[int],
        vacate: Callable[[int], Awaitable[None]],
    ) -> None:
        connection, pool = cluster.connection, cluster.pool
        self.table = PoolTable(connection.open_ioctx(pool), pool)
        entry = ProcessEntry(
            addresses_in(connection.get_addrs()), socket.gethostname(), os.getpid()
        )
        self.lease = Lease(self.table, entry)
        self.takeover = Takeover(self.lease, connection)
        self._cluster = cluster
        self._numbers = numbers
        self._vacate = vacate
        self._claims: dict[int, _Held] = {}
        self._locks: dict[int, PoolLock] = {}
        self._making = 0
        self._changed = asyncio.Event()

    def __contains__(self, number: int) -> bool:
        return number in self._claims or number in self._locks

    def claim(self, number: int) -> Claim:
        """A claim by its number.

        Raises:
            Internal: There is none.
        """
        try:
            return self._claims[number].claim
        except KeyError:
            raise Internal(f"No claim {number} on this connection to virtlayer-rbd.") from None

    def lock(self, number: int) -> PoolLock:
        """The lock of the pool by its number.

        Raises:
            Internal: There is none.
        """
        try:
            return self._locks[number]
        except KeyError:
            raise Internal(f"No lock {number} on this connection to virtlayer-rbd.") from None

    def holder(self, number: int) -> Claim | PoolLock:
        """A claim or the lock of the pool by its number.

        Raises:
            Internal: There is none.
        """
        return self._locks[number] if number in self._locks else self.claim(number)

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """Make a claim or take the lock within the context, if there is room for one more.

        Raises:
            Internal: There are too many.
        """
        if len(self._claims) + len(self._locks) + self._making >= CLAIMS_LIMIT:
            raise Internal(f"The limit of {CLAIMS_LIMIT} claims is reached.")
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1

    def add_claim(self, claim: Claim) -> tuple[int, int]:
        """Take over a claim.

        Returns:
            Its number, and the descriptor that keeps it, which is the caller's.
        """
        number = next(self._numbers)
        kept, keeps = os.pipe()
        os.set_blocking(kept, False)
        self._claims[number] = _Held(claim, kept)
        asyncio.get_running_loop().add_reader(kept, self._on_readable, number)
        return number, keeps

    def add_lock(self, lock: PoolLock) -> int:
        """Take over the lock of the pool; its number."""
        number = next(self._numbers)
        self._locks[number] = lock
        return number

    async def release(self, number: int) -> None:
        """End a claim with its staging places, or a lock.

        Raises:
            Internal: There is none of that number.
        """
        if number in self._locks:
            await self._cluster.run(self._locks.pop(number).release)
            return
        self.claim(number)
        await self._ended(number)
        self._claims.pop(number, None)
        self._changed.set()

    async def disconnect(self) -> None:
        """End the locks, and what claims build: the keeper has ended. Claims remain."""
        for number in tuple(self._locks):
            await self.release(number)
        for held in tuple(self._claims.values()):
            await self._cluster.run(held.claim.end_builds)

    async def until_none(self) -> None:
        """Wait until nobody keeps a claim."""
        while any(held.ending is None for held in self._claims.values()):
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """End all claims and locks, and give up the lease."""
        for number in (*self._claims, *self._locks):
            await self.release(number)
        await self._cluster.run(self.lease.end)

    def _on_readable(self, number: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(self._claims[number].kept, 4096):
                self._begin_end(number)

    def _begin_end(self, number: int) -> asyncio.Task[None]:
        held = self._claims[number]
        if held.ending is None:
            asyncio.get_running_loop().remove_reader(held.kept)
            os.close(held.kept)
            held.ending = asyncio.create_task(self._end(number, held), name=f"end claim {number}")
            self._changed.set()
        return held.ending

    async def _ended(self, number: int) -> None:
        await asyncio.shield(self._begin_end(number))

    async def _end(self, number: int, held: _Held) -> None:
        await self._vacate(number)
        await self._cluster.run(held.claim.end)
