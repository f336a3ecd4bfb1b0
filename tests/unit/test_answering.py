# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests that are answered concurrently."""

import asyncio
import socket
import uuid
from collections.abc import Mapping

from tests.support.waiting import PATIENCE
from virtlayer.errors import Internal
from virtlayer.protocol import calls
from virtlayer.protocol.answering import Answer, Answers, Requests, Turn, answer
from virtlayer.protocol.asking import Connection

_STALLED = str(uuid.uuid4())


async def test_pool_that_does_not_answer_delays_no_lists_of_others() -> None:
    going_on = asyncio.Event()
    waiting = 0

    async def find(_turn: Turn, request: calls.NamedFiles) -> calls.Files:
        nonlocal waiting
        if request.pool == _STALLED:
            waiting += 1
            await going_on.wait()
        return calls.Files({})

    message = calls.FIND_FILES.message
    answers: Mapping[str, Answer[Turn]] = {message: answer(calls.FIND_FILES, find)}
    served = Answers("keeper", "service", answers, frozenset((message,)))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    requests = Requests(theirs, served, lambda received: Turn(descriptors=received))
    connection = Connection(ours, "keeper", lambda: Internal("ended"))
    async with asyncio.timeout(PATIENCE):
        stalled = [
            asyncio.create_task(connection.ask(calls.FIND_FILES, calls.NamedFiles(_STALLED, ())))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        other = calls.NamedFiles(str(uuid.uuid4()), ())
        assert await connection.ask(calls.FIND_FILES, other) == calls.Files({})
        assert waiting == 8
        going_on.set()
        await asyncio.gather(*stalled)
    connection.close()
    await requests.close()
