# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service's end of a connection to a keeper that has been killed."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from tests.support.waiting import PATIENCE
from virtlayer.errors import PoolUnavailable
from virtlayer.programs import running
from virtlayer.protocol import calls
from virtlayer.protocol.asking import Connection
from virtlayer.service.keeper.connection import keeper_connection
from virtlayer.service.keeper.programs import KeptProgram
from virtlayer.sizes import KIB


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection, and the keeper's end of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, contextlib.closing(keeper_connection(ours)) as connection:
        yield connection, theirs


async def waiting[T](task: asyncio.Task[T]) -> None:
    """Let a task run until it waits for something that does not come by itself."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()


async def test_program_is_waited_for_after_one_of_those_who_kill_it_was_cancelled() -> None:
    async with connected() as (connection, theirs), running(["sleep", "infinity"]) as sleeping:
        theirs.close()
        # The test is the kernel, which kills the program when its keeper has ended.
        started = calls.Started(1, "sleep")
        program = KeptProgram(connection, started, os.pidfd_open(sleeping.pid))
        first, second = (asyncio.create_task(program.kill()) for _ in range(2))
        await waiting(second)
        first.cancel()
        await asyncio.wait([first])
        third = asyncio.create_task(program.kill())
        await waiting(third)
        # A descriptor that is opened now has no number that the event loop still watches.
        receiving, sending = os.pipe()
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(receiving, readable.set)
        os.close(sending)
        os.kill(sleeping.pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(PATIENCE):
                await readable.wait()
                await asyncio.gather(second, third)
        finally:
            asyncio.get_running_loop().remove_reader(receiving)
            os.close(receiving)
        with pytest.raises(PoolUnavailable):
            await program.wait()


async def test_program_that_was_killed_is_not_waited_for_when_the_keeper_ends_later() -> None:
    async with connected() as (connection, theirs):
        program = KeptProgram(connection, calls.Started(1, "sleep"), os.pidfd_open(os.getpid()))
        ending = asyncio.create_task(program.wait()), asyncio.create_task(program.kill())
        for task in ending:
            await waiting(task)
            # What is not received would be an error of the connection, before the reply.
            theirs.recv(KIB)
        # The reply to the second request, and the end of the keeper, at the same time.
        theirs.send(b'{"id":2,"done":{"status":-9,"stderr":""}}')
        theirs.close()
        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*ending, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [PoolUnavailable, type(None)]


async def test_requests_that_could_not_be_sent_before_the_keeper_ended_report_that() -> None:
    async with connected() as (connection, theirs):
        asking = [
            asyncio.create_task(connection.ask(calls.FIND_POOL, calls.NamedPool("x" * 60 * KIB)))
            for _ in range(64)
        ]
        # They have filled the socket by then.
        await waiting(asking[-1])
        theirs.close()
        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {PoolUnavailable}
