# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks at pools: one at a time for each, and no caller waits for a pool that does not answer."""

import asyncio
from collections import Counter

import pytest

from tests.support.waiting import until
from virtlayer.service.bus import looks
from virtlayer.service.bus.looks import Looks


class Pools:
    """Pools that answer when the test lets them."""

    def __init__(self, *slow: str) -> None:
        self.begun: Counter[str] = Counter()
        self.answers = {name: asyncio.Event() for name in slow}

    async def look(self, pool: str) -> None:
        self.begun[pool] += 1
        if pool in self.answers:
            await self.answers[pool].wait()


async def test_callers_of_the_same_time_share_one_look() -> None:
    pools = Pools("slow")
    shared = Looks(pools.look)
    callers = [asyncio.create_task(shared.at(["slow"])) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pools.answers["slow"].set()
    await asyncio.gather(*callers)
    assert pools.begun == {"slow": 1}
    await shared.at(["slow"])
    assert pools.begun == {"slow": 2}


async def test_only_the_first_caller_waits_for_a_pool_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = Pools("slow")
    shared = Looks(pools.look)
    monkeypatch.setattr(looks, "_PATIENCE", 0.01)
    await shared.at(["slow", "fast"])
    # A caller that waited now would wait forever.
    monkeypatch.setattr(looks, "_PATIENCE", None)
    await shared.at(["slow", "fast"])
    assert pools.begun == {"slow": 1, "fast": 2}
    pools.answers["slow"].set()
    await until(lambda: not shared._tasks)
    await shared.at(["slow"])
    assert pools.begun == {"slow": 2, "fast": 2}


async def test_close_ends_looks_that_have_not_ended() -> None:
    pools = Pools("slow")
    shared = Looks(pools.look)
    caller = asyncio.create_task(shared.at(["slow"]))
    await asyncio.sleep(0)
    await shared.close()
    await caller
    assert shared._tasks == {}
