# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about claims and the locks of pools; the other end is ``service.keeper.claims``."""

import asyncio
import functools
import os

from virtlayer.cancellation import to_completion
from virtlayer.keeper.answers.answer import Turn, answer
from virtlayer.keeper.answers.pools import active_pool_of, pool_of
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.claims import Claim
from virtlayer.keeper.kinds.directory.pool_lock import PoolLock, under_lock
from virtlayer.protocol import calls
from virtlayer.protocol.claims import Claimed, ClaimVolumes, Locked, Release
from virtlayer.protocol.pools import Pool


async def _claim(turn: Turn, request: ClaimVolumes) -> Claimed:
    if request.claim is None:
        pool = await active_pool_of(turn, request.pool)
        with turn.holdings.claiming():
            return await _new_claim(turn, pool, request)
    claim = turn.holdings.claim(request.claim, await pool_of(turn, request.pool))
    if claim.lacks(request.names):
        await under_lock(claim.own, lambda _own: claim.add(request.names))
    return Claimed(request.claim, await _busy(claim, request))


async def _new_claim(turn: Turn, pool: Pool, request: ClaimVolumes) -> Claimed:
    claim = Claim(pool)
    try:
        await under_lock(pool, functools.partial(claim.make, names=request.names))
        busy = await _busy(claim, request)
        # The open file description has the lock: it is the service's as well.
        turn.reply_descriptors.append(os.dup(claim.file))
    except BaseException:
        await to_completion(asyncio.to_thread(claim.end))
        raise
    return Claimed(turn.holdings.add_claim(claim), busy)


async def _busy(claim: Claim, request: ClaimVolumes) -> tuple[str, ...]:
    """Those of the layers that cannot be built now."""
    if not request.build:
        return ()
    try:
        return tuple(sorted(await asyncio.to_thread(claim.try_build, request.build)))
    except OSError as error:
        raise refused_by_system(error, claim.pool.name, claim.pool.path) from error


async def _lock(turn: Turn, request: calls.KnownPool) -> Locked:
    pool = await active_pool_of(turn, request.pool)
    with turn.holdings.claiming():
        lock = PoolLock(pool)
        try:
            await lock.take()
            turn.reply_descriptors.append(os.dup(lock.file))
        except BaseException:
            await to_completion(lock.release())
            raise
        return Locked(turn.holdings.add_lock(lock), tuple(sorted(lock.claimed())))


async def _release(turn: Turn, request: Release) -> calls.Nothing:
    await to_completion(turn.holdings.release(request.number, failed=request.failed))
    return calls.Nothing()


ANSWERS = (
    answer(calls.CLAIM, _claim),
    answer(calls.LOCK, _lock),
    answer(calls.RELEASE, _release),
)
