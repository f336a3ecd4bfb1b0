# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls begin in rounds: one of each user in a turn of the event loop."""

import asyncio

from virtlayer.service.bus.rounds import Rounds

A, B = 1001, 1002


async def test_many_calls_of_one_user_delay_another_by_one() -> None:
    rounds = Rounds()
    order: list[str] = []

    async def call(uid: int, name: str) -> None:
        await rounds.turn(uid)
        order.append(name)

    calls = [asyncio.create_task(call(A, f"a{number}")) for number in range(5)]
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(call(B, "b0")))
    await asyncio.gather(*calls)
    assert order.index("b0") <= 2
    assert [name for name in order if name != "b0"] == ["a0", "a1", "a2", "a3", "a4"]


async def test_cancelled_call_leaves_its_place_to_the_next_round() -> None:
    rounds = Rounds()
    first, second = (asyncio.create_task(rounds.turn(A)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    await rounds.turn(B)
