# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims on volumes and the locks of pools; see ``keeper.answers.claims``.

A job that finds a volume in the pool may use it as a backing volume minutes later, and until then
nothing in the pool shows this. The job therefore claims its volumes by name before it looks for
them. A deletion on any host skips claimed volumes; while it decides and deletes, new claims wait.

The service holds a copy of the descriptor of a claim's lock, so that the claim lasts as long as its
job, even if the keeper is killed.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable

from virtlayer.cancellation import settled, to_completion
from virtlayer.errors import InUse, PoolUnavailable, VirtlayerError
from virtlayer.protocol import calls
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.claims import ClaimVolumes, Locked, PoolLocked, Release
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.connection import KeeperLink

_LOCK_SECONDS = 300.0
"""How long other processes may lock a pool: a deletion checks all domains and volumes."""


class Claim:
    """A claim of a running job; it lasts as long as its context.

    Attributes:
        pool: The pool.
        connection: The connection to the keeper that holds the claim.
        number: The number of the claim in the keeper.
    """

    def __init__(
        self,
        pool: Pool,
        connection: Connection,
        number: int,
        names: Iterable[str],
        staged: calls.Staged | None = None,
    ) -> None:
        self.pool = pool
        self.connection = connection
        self.number = number
        self._names = set(names)
        self._staged = staged

    def take_staged(self) -> calls.Staged | None:
        """Take the staging directory that was made with the claim, which is removed with it."""
        staged, self._staged = self._staged, None
        return staged

    async def add(self, names: Iterable[str]) -> None:
        """Claim further volumes.

        Raises:
            InUse: A deletion or another process has the pool's lock for too long.
            PoolUnavailable: The keeper has ended.
        """
        new = set(names) - self._names
        if new:
            request = ClaimVolumes(self.pool.uuid, self.number, tuple(new), ())
            await until_unlocked(lambda: self.connection.ask(calls.CLAIM, request))
            self._names |= new

    async def try_build(self, keys: Collection[str]) -> frozenset[str]:
        """Acquire the right to build layers, without waiting for other jobs.

        It ends when the layer is placed, or with the claim.

        Args:
            keys: The keys of the layers: SHA-256 digests that are equal for two jobs if one may
                wait for the other.

        Returns:
            The keys of the layers that another job builds, on this host or another one.

        Raises:
            PoolUnavailable: The keeper has ended.
        """
        request = ClaimVolumes(self.pool.uuid, self.number, (), tuple(keys))
        return frozenset((await self.connection.ask(calls.CLAIM, request)).busy)


class PoolLock:
    """The lock of a pool, for a deletion; it lasts as long as its context.

    Attributes:
        pool: The pool.
        connection: The connection to the keeper that holds the lock.
        number: The number of the lock in the keeper.
        claimed: The names of the volumes that running jobs on any host have claimed.
    """

    def __init__(self, pool: Pool, connection: Connection, locked: Locked) -> None:
        self.pool = pool
        self.connection = connection
        self.number = locked.lock
        self.claimed = frozenset(locked.claimed)


class Claims:
    """The claims on the volumes of every pool.

    Args:
        link: The link to the keeper.
    """

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    @contextlib.asynccontextmanager
    async def claimed(self, pool: Pool, names: Iterable[str]) -> AsyncIterator[Claim]:
        """Claim volumes by name, which may not exist yet, as long as the context lasts.

        Args:
            pool: The pool.
            names: The names of the volumes.

        Raises:
            InUse: A deletion or another process has the pool's lock for too long.
            PoolUnsupported: The pool does not support claims.
            VirtlayerError: The pool cannot be used.
        """
        request = ClaimVolumes(pool.uuid, None, tuple(set(names)), ())
        async with self._held(calls.CLAIM, request, lambda claimed: (pool, claimed.claim)) as (
            connection,
            claimed,
        ):
            yield Claim(pool, connection, claimed.claim, request.names)

    @contextlib.asynccontextmanager
    async def begun(
        self, pool: str, names: Iterable[str], purpose: Purpose
    ) -> AsyncIterator[Claim]:
        """Claim volumes in a pool, and make a staging directory there, with one request.

        Args:
            pool: The name of the pool.
            names: The names of the volumes.
            purpose: What the staging directory is for: the first of the claim.

        Raises:
            PoolNotFound: There is no such pool; the message lists the existing pools.
            PoolInactive: It is not started.
            VirtlayerError: See ``claimed`` and ``staging_directory``.
        """
        request = calls.Begin(pool, tuple(set(names)), purpose)
        async with self._held(calls.BEGIN, request, lambda begun: (begun.pool, begun.claim)) as (
            connection,
            begun,
        ):
            yield Claim(begun.pool, connection, begun.claim, request.names, begun.staged)

    @contextlib.asynccontextmanager
    async def locked(self, pool: Pool) -> AsyncIterator[PoolLock]:
        """Prevent new claims on any host as long as the context lasts; for deletions only.

        Raises:
            InUse: Another process has the lock for too long, or a claim cannot be read.
            PoolUnsupported: The pool does not support locks.
            VirtlayerError: The pool cannot be used.
        """
        request = calls.KnownPool(pool.uuid)
        async with self._held(calls.LOCK, request, lambda locked: (pool, locked.lock)) as (
            connection,
            locked,
        ):
            yield PoolLock(pool, connection, locked)

    @contextlib.asynccontextmanager
    async def _held[Q, R](
        self, call: calls.Call[Q, R], request: Q, object_of: Callable[[R], tuple[Pool, int]]
    ) -> AsyncIterator[tuple[Connection, R]]:
        """Hold the object that a call creates in the keeper until the context ends.

        Args:
            call: The call.
            request: What it gets.
            object_of: Returns the pool and the number of the object.
        """
        connection = await self._link.connection()
        objects: list[tuple[Pool, int]] = []
        with contextlib.ExitStack() as descriptors:

            async def ask() -> R:
                reply, received = await connection.ask_with(call, request, ())
                # This also runs if the waiting task was cancelled; the object is then released.
                objects.append(object_of(reply))
                for descriptor in received:
                    descriptors.callback(os.close, descriptor)
                return reply

            try:
                yield connection, await until_unlocked(ask)
            finally:
                if objects:
                    releasing = self._released(*objects[0], connection, descriptors)
                    # The job has done its work, even if it is cancelled now.
                    await settled(asyncio.ensure_future(releasing))

    async def _released(
        self,
        pool: Pool,
        number: int,
        connection: Connection,
        descriptors: contextlib.ExitStack,
    ) -> None:
        with contextlib.suppress(PoolUnavailable):
            await connection.ask(calls.RELEASE, Release(number, failed=False))
        descriptors.close()
        if connection.ended:
            # The keeper was killed: its leftovers are no longer locked, and another keeper sweeps
            # them.
            with contextlib.suppress(VirtlayerError):
                await self._link.ask(calls.SWEEP, calls.KnownPool(pool.uuid))


async def until_unlocked[T](
    ask: Callable[[], Coroutine[object, object, T]], *, abandons: bool = False
) -> T:
    """Repeat a request that needs a pool's lock while another process has the lock.

    A cancellation takes effect between two requests.

    Args:
        ask: Sends the request, and returns the reply.
        abandons: Let a cancellation take effect during a request. For requests that wait for
            libvirt, which may be busy for long, and whose reply gives nothing to release.

    Raises:
        InUse: Another process has the lock for too long.
        VirtlayerError: The keeper replies with an error.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + _LOCK_SECONDS
    while True:
        try:
            return await (ask() if abandons else to_completion(ask()))
        except PoolLocked as error:
            if clock() > deadline:
                minutes = _LOCK_SECONDS / 60
                raise InUse(
                    f"{error.message} It has had the lock for {minutes:.0f} min."
                ) from error
