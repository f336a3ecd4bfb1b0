# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about claims, the lock of the pool, and what dead processes left."""

import asyncio
import logging

from virtlayer.cancellation import to_completion
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.calls import Nothing
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.pool_lock import PoolLock
from virtlayer.rbd.sweep import sweep

_log = logging.getLogger(__name__)

_RELEASE_SECONDS = 3.0
"""How long a request waits for the end of a job, which goes on afterwards."""


async def _claim(turn: Turn, request: messages.Claim) -> messages.Claimed:
    if request.claim is None:
        with turn.holdings.claims.making():
            return await _new_claim(turn, request)
    claim = turn.holdings.claims.claim(request.claim)
    await turn.cluster.run(claim.add, request.names)
    return messages.Claimed(request.claim, claim.name, await _busy(turn, claim, request))


async def _new_claim(turn: Turn, request: messages.Claim) -> messages.Claimed:
    claims = turn.holdings.claims
    claim = Claim(claims.takeover)
    try:
        await turn.cluster.run(claim.make, request.names)
        busy = await _busy(turn, claim, request)
    except BaseException:
        await to_completion(turn.cluster.run(claim.end))
        raise
    number, descriptor = claims.add_claim(claim)
    turn.reply_descriptors.append(descriptor)
    return messages.Claimed(number, claim.name, busy)


async def _busy(turn: Turn, claim: Claim, request: messages.Claim) -> tuple[str, ...]:
    """Try to take the right to build layers; return the keys of those that are being built."""
    if not request.build:
        return ()
    return tuple(sorted(await turn.cluster.run(claim.try_build, request.build)))


async def _end_build(turn: Turn, request: messages.EndBuild) -> Nothing:
    claim = turn.holdings.claims.claim(request.claim)
    await turn.cluster.run(claim.end_build, request.key)
    return Nothing()


async def _lock(turn: Turn, _request: Nothing) -> messages.Locked:
    claims = turn.holdings.claims
    with claims.making():
        lock = PoolLock(claims.takeover)
        try:
            await turn.cluster.run(lock.take)
        except BaseException:
            await to_completion(turn.cluster.run(lock.release))
            raise
        return messages.Locked(claims.add_lock(lock), lock.claimed)


async def _release(turn: Turn, request: messages.Release) -> Nothing:
    # A cancelled job does not wait for a cluster that does not answer.
    releasing = asyncio.create_task(turn.holdings.release(request.number), name="release")
    await to_completion(_done_soon(releasing))
    if releasing.done():
        releasing.result()
    return Nothing()


async def _done_soon(releasing: asyncio.Task[None]) -> None:
    await asyncio.wait([releasing], timeout=_RELEASE_SECONDS)
    releasing.add_done_callback(_log_failure)


def _log_failure(releasing: asyncio.Task[None]) -> None:
    if not releasing.cancelled() and (error := releasing.exception()) is not None:
        _log.warning("The end of a job is incomplete: %s", error)


async def _sweep(turn: Turn, _request: Nothing) -> messages.Count:
    cluster = turn.cluster
    return messages.Count(await cluster.run(sweep, turn.holdings.claims.takeover, cluster.images))


ANSWERS = (
    answer(messages.CLAIM, _claim),
    answer(messages.END_BUILD, _end_build),
    answer(messages.LOCK, _lock),
    answer(messages.RELEASE, _release),
    answer(messages.SWEEP, _sweep),
)
