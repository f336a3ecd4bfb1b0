# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots: who gets one, in which order, and what a cancellation gives back."""

import asyncio
import contextlib

import pytest

from virtlayer.service.jobs.turns import Turns

A, B, C, D = 1001, 1002, 1003, 1004


class Work:
    """Tasks that keep their slots until they are ended."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.running: list[str] = []
        self.most = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, uid: int, *names: str) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(uid, name))
        await _settled()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await _settled()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        for name in names:
            with contextlib.suppress(asyncio.CancelledError):
                await self._tasks[name]
            assert self._tasks[name].cancelled()
        await _settled()

    async def _work(self, uid: int, name: str) -> None:
        async with self._turns.slot(uid):
            self.running.append(name)
            self.most = max(self.most, len(self.running))
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_user_gets_the_limit_in_the_order_of_the_requests() -> None:
    work = Work(Turns(2))
    await work.begin(A, "1", "2", "3", "4")
    assert work.running == ["1", "2"]
    await work.end("2")
    assert work.running == ["1", "3"]
    await work.end("1")
    assert work.running == ["3", "4"]
    await work.cancel("3", "4")
    assert work.most == 2


async def test_first_request_of_another_user_does_not_wait() -> None:
    work = Work(Turns(2))
    await work.begin(A, *(f"a{number}" for number in range(40)))
    await work.begin(B, "b0")
    assert work.running == ["a0", "a1", "b0"]
    await work.begin(C, "c0")
    assert work.running == ["a0", "a1", "b0", "c0"]
    # Twice the limit is the end.
    await work.begin(D, "d0")
    assert work.running == ["a0", "a1", "b0", "c0"]
    await work.end("b0")
    assert work.running == ["a0", "a1", "c0", "d0"]
    await work.cancel("a0", "a1", "c0", "d0", *(f"a{number}" for number in range(2, 40)))


async def test_users_take_turns() -> None:
    work = Work(Turns(1))
    await work.begin(A, "a0", "a1", "a2")
    await work.begin(B, "b0", "b1", "b2")
    order = []
    while work.running:
        order.append(work.running[0])
        await work.end(work.running[0])
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_one_user_gets_no_more_than_the_share_of_a_user() -> None:
    work = Work(Turns(4, per_user=2))
    await work.begin(A, "a0", "a1", "a2")
    assert work.running == ["a0", "a1"]
    await work.begin(B, "b0", "b1", "b2")
    assert work.running == ["a0", "a1", "b0", "b1"]
    await work.end("a0")
    assert work.running == ["a1", "b0", "b1", "a2"]
    await work.cancel("a1", "b0", "b1", "a2", "b2")


@pytest.mark.parametrize("given", [False, True])
async def test_cancelled_request_gives_its_slot_to_the_next(given: bool) -> None:
    turns = Turns(1)
    work = Work(turns)
    await work.begin(A, "1", "2", "3")
    if given:
        # The slot is given and the cancellation comes before the task runs again.
        work._ends["1"].set()
        work._tasks["1"].add_done_callback(lambda _: work._tasks["2"].cancel())
        await _settled()
        await work.cancel("2")
    else:
        await work.cancel("2")
        await work.end("1")
    assert work.running == ["3"]
    await work.end("3")
    assert turns._taken.total() == 0
    assert not turns._waiting
