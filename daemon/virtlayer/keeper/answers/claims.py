# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about claims and the locks of pools; the other end is ``service.keeper.claims``."""

from virtlayer.cancellation import to_completion
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.pools import active_pool_of, found_pool, pool_of
from virtlayer.keeper.answers.staging import staged
from virtlayer.keeper.kinds.kind import Claim
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.claims import Claimed, ClaimVolumes, Locked, Release
from virtlayer.protocol.pools import Pool


async def _claim(turn: Turn, request: ClaimVolumes) -> Claimed:
    if request.claim is None:
        pool = await active_pool_of(turn, request.pool)
        with turn.holdings.claiming():
            return await _new_claim(turn, pool, request)
    claim = turn.holdings.claim(request.claim, await pool_of(turn, request.pool))
    await claim.add(request.names)
    return Claimed(request.claim, await _busy(claim, request))


async def _new_claim(turn: Turn, pool: Pool, request: ClaimVolumes) -> Claimed:
    claim = await turn.kinds.of(pool).claim(pool, request.names)
    try:
        busy = await _busy(claim, request)
        # The service's copy of the descriptor keeps the claim even if this process is killed.
        turn.reply_descriptors.append(claim.copy_descriptor())
    except BaseException:
        await claim.end()
        raise
    return Claimed(turn.holdings.add_claim(claim), busy)


async def _begin(turn: Turn, request: calls.Begin) -> calls.Begun:
    pool = await found_pool(turn, request.pool_name)
    with turn.holdings.claiming():
        claim = await turn.kinds.of(pool).claim(pool, request.names)
        number = turn.holdings.add_claim(claim)
    try:
        place = await staged(turn, pool, number, request.purpose)
        turn.reply_descriptors.append(claim.copy_descriptor())
    except BaseException:
        await to_completion(turn.holdings.release(number, failed=False))
        raise
    return calls.Begun(pool, number, place)


async def _busy(claim: Claim, request: ClaimVolumes) -> tuple[str, ...]:
    """Try to take the right to build layers; return the keys of those that are being built."""
    return tuple(sorted(await claim.try_build(request.build))) if request.build else ()


async def _lock(turn: Turn, request: calls.KnownPool) -> Locked:
    pool = await active_pool_of(turn, request.pool)
    with turn.holdings.claiming():
        # Not with a descriptor, as of a claim: by any copy, a lock can be ended unnoticed.
        lock = await turn.kinds.of(pool).lock(pool)
        return Locked(turn.holdings.add_lock(lock), tuple(sorted(lock.claimed())))


async def _release(turn: Turn, request: Release) -> calls.Nothing:
    await to_completion(turn.holdings.release(request.number, failed=request.failed))
    return calls.Nothing()


ANSWERS = (
    answer(calls.CLAIM, _claim),
    answer(calls.BEGIN, _begin),
    answer(calls.LOCK, _lock),
    answer(calls.RELEASE, _release),
)
