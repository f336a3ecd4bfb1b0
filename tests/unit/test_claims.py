# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims on volumes, and deletions that have to know of all of them."""

import asyncio
from pathlib import Path

from virtlayer.protocol.pools import Pool
from virtlayer.service.chain.claims import Claims

POOL = Pool("default", "uuid-1", "dir", Path("/pool"))
OTHER = Pool("other", "uuid-2", "dir", Path("/other"))


async def claimed(claims: Claims, pool: Pool = POOL) -> set[str]:
    async with claims.deleting(pool) as names:
        return set(names)


async def test_what_is_claimed_is_known_as_long_as_anyone_claims_it() -> None:
    claims = Claims()
    async with claims.claimed(POOL, ["a", "b"]):
        async with claims.claimed(POOL, ["b", "c", "c"]):
            assert await claimed(claims) == {"a", "b", "c"}
            assert await claimed(claims, OTHER) == set()
        assert await claimed(claims) == {"a", "b"}
    assert await claimed(claims) == set()


async def test_a_claim_waits_for_a_deletion_in_its_pool() -> None:
    claims = Claims()

    async def claim(pool: Pool) -> None:
        async with claims.claimed(pool, ["a"]):
            pass

    async with claims.deleting(POOL) as names:
        waiting = asyncio.create_task(claim(POOL))
        await claim(OTHER)
        assert not waiting.done()
        assert names == frozenset()
    await waiting


async def test_one_that_gives_up_waiting_has_claimed_nothing() -> None:
    claims = Claims()

    async def claim() -> None:
        async with claims.claimed(POOL, ["a"]):
            raise AssertionError("it was cancelled before")

    async with claims.deleting(POOL):
        waiting = asyncio.create_task(claim())
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await claimed(claims) == set()
