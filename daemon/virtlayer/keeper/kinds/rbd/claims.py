# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims and the lock of an RBD pool, which the process of the pool holds."""

import asyncio
import os
from collections.abc import Collection, Coroutine, Iterable, Mapping

from virtlayer.errors import Internal, PoolUnavailable
from virtlayer.keeper.kinds.kind import Claim, Lock
from virtlayer.keeper.kinds.rbd.processes import RbdProcess
from virtlayer.keeper.kinds.rbd.received import received_pipe
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.pools import Pool


class RbdClaim:
    """A claim; it lasts as long as a copy of its descriptor is open, and its process runs.

    Attributes:
        pool: The pool.
        process: The process that holds it.
        number: Its number there.
        name: A name that no other claim on any host has.
    """

    def __init__(
        self, pool: Pool, process: RbdProcess, claimed: rbd.Claimed, descriptor: OwnedDescriptor
    ) -> None:
        self.pool = pool
        self.process = process
        self.number = claimed.claim
        self.name = claimed.name
        self._descriptor = descriptor
        self._is_ended = False
        process.hold()

    def copy_descriptor(self) -> int:
        """A descriptor that keeps the claim until it is closed, which is the caller's."""
        return os.dup(self._descriptor)

    async def add(self, names: Iterable[str]) -> None:
        """Add volumes.

        Raises:
            VirtlayerError: Another process has the pool's lock, or the cluster does not answer.
        """
        await self._add(tuple(names), ())

    async def try_build(self, keys: Iterable[str]) -> frozenset[str]:
        """Try to take the right to build layers; return those that another claim builds."""
        return await self._add((), tuple(keys))

    def end_build(self, key: str) -> None:
        """Give up the right to build a layer, which is in the pool."""
        request = rbd.EndBuild(self.number, key)
        self.process.in_background(_done(self.process.ask(rbd.END_BUILD, request)))

    async def end(self) -> None:
        """End the claim and what it builds."""
        if self._is_ended:
            return
        self._is_ended = True
        self._descriptor.close()
        try:
            await released(self.process, self.number)
        finally:
            self.process.let_go()

    async def _add(self, names: tuple[str, ...], keys: tuple[str, ...]) -> frozenset[str]:
        request = rbd.Claim(self.number, names, keys)
        return frozenset((await self.process.ask(rbd.CLAIM, request)).busy)


class RbdLock:
    """The lock of a pool.

    Attributes:
        pool: The pool.
        process: The process that holds it.
        number: Its number there.
        in_use: Held while something is done that needs the lock, which ends no sooner.
        taken_at: When this process had it, by the loop's clock.
    """

    def __init__(self, pool: Pool, process: RbdProcess, locked: rbd.Locked) -> None:
        self.pool = pool
        self.process = process
        self.number = locked.lock
        self.in_use = asyncio.Lock()
        self.taken_at = asyncio.get_running_loop().time()
        self._claimed: Mapping[str, Collection[str]] = locked.claimed
        process.hold()

    def claimed(self, *, but_for: str | None = None) -> frozenset[str]:
        """The volumes that the jobs of all hosts need.

        Args:
            but_for: The name of a claim that does not count.
        """
        others = (names for claim, names in self._claimed.items() if claim != but_for)
        return frozenset[str]().union(*others)

    async def release(self) -> None:
        """End the lock."""
        async with self.in_use:
            try:
                await released(self.process, self.number)
            finally:
                self.process.let_go()


async def new_claim(process: RbdProcess, pool: Pool, names: Iterable[str]) -> RbdClaim:
    """Make a claim on volumes of the process's pool."""

    async def make() -> RbdClaim:
        request = rbd.Claim(None, tuple(names), ())
        claimed, descriptors = await process.ask_with(rbd.CLAIM, request, ())
        return RbdClaim(pool, process, claimed, OwnedDescriptor(received_pipe(descriptors)))

    return await process.made(make(), RbdClaim.end)


async def new_lock(process: RbdProcess, pool: Pool) -> RbdLock:
    """Take the lock of the process's pool."""

    async def take() -> RbdLock:
        return RbdLock(pool, process, await process.ask(rbd.LOCK, Nothing()))

    return await process.made(take(), RbdLock.release)


async def released(process: RbdProcess, number: int) -> None:
    """Release an object of the process; it is gone if the process has ended."""
    try:
        await process.ask(rbd.RELEASE, rbd.Release(number))
    except PoolUnavailable:
        if not process.ended:
            raise


def own_claim(holder: Claim | Lock) -> RbdClaim:
    """A claim on a pool of this kind.

    Raises:
        Internal: It is none.
    """
    if not isinstance(holder, RbdClaim):
        raise Internal("The claim is one in a pool of another kind.")
    return holder


def own_lock(lock: Lock) -> RbdLock:
    """The lock of a pool of this kind.

    Raises:
        Internal: It is none.
    """
    if not isinstance(lock, RbdLock):
        raise Internal("The lock is one of a pool of another kind.")
    return lock


async def _done[T](asking: Coroutine[object, object, T]) -> None:
    await asking
