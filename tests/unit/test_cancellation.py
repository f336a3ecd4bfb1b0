# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cancellation that comes while other work is being ended takes effect all the same."""

import asyncio
from collections.abc import Coroutine

import pytest

from virtlayer.cancellation import meanwhile, stopped


class _Slow:
    """Work that takes a moment to end when it is cancelled."""

    def __init__(self) -> None:
        self.is_ending = asyncio.Event()
        self.may_end = asyncio.Event()
        self.has_ended = False

    async def run(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.is_ending.set()
            await self.may_end.wait()
            self.has_ended = True


async def _cancelled_while_ending(work: _Slow, user: Coroutine[object, object, None]) -> None:
    using = asyncio.create_task(user)
    await work.is_ending.wait()
    using.cancel()
    await asyncio.sleep(0)
    assert not using.done()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert work.has_ended


async def test_cancellation_while_a_context_is_left() -> None:
    work = _Slow()

    async def use() -> None:
        async with meanwhile(work.run()):
            await asyncio.sleep(0)

    await _cancelled_while_ending(work, use())


async def test_cancellation_while_several_tasks_are_stopped() -> None:
    work = _Slow()

    async def use() -> None:
        tasks = [asyncio.create_task(one()) for one in (work.run, work.run)]
        await asyncio.sleep(0)
        await stopped(*tasks)

    await _cancelled_while_ending(work, use())


async def test_errors_of_stopped_work_are_not_reported_as_forgotten() -> None:
    async def fail() -> None:
        raise ValueError("reason")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await stopped(task)
    assert isinstance(task.exception(), ValueError)
