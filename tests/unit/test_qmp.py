# SPDX-License-Identifier: LGPL-2.1-or-later
"""A command of QMP, and what its program sends meanwhile that a real one sends only by chance."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.support.waiting import until
from virtlayer import programs
from virtlayer.errors import Internal
from virtlayer.service.chain import qmp
from virtlayer.service.chain.qmp import Event, Monitor

_OVER = Event("BLOCK_EXPORT_DELETED", {"id": "v1"})


class _Peer:
    """The program's end of a monitor."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def command(self) -> int:
        """Receive a command; return its number."""
        loop = asyncio.get_running_loop()
        number: int = json.loads(await loop.sock_recv(self._connection, 4096))["id"]
        return number

    async def send(self, **message: object) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._connection, json.dumps(message).encode() + b"\n")


@contextlib.asynccontextmanager
async def _monitor() -> AsyncIterator[tuple[Monitor, _Peer]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        async with programs.running(["sleep", "1000"]) as program:
            peer = _Peer(theirs)
            monitor = Monitor(ours, program)
            starting = asyncio.create_task(monitor.execute("query-status"))
            for _ in range(2):
                await peer.send(**{"return": {}, "id": await peer.command()})
            assert await starting == {}
            yield monitor, peer


async def test_event_of_another_name_with_the_same_data_does_not_end_a_command() -> None:
    async with _monitor() as (monitor, peer):
        task = asyncio.create_task(monitor.execute("block-export-del", until=_OVER))
        number = await peer.command()
        await peer.send(event="BLOCK_JOB_ERROR", data={"id": "v1", "other": 1})
        await peer.send(**{"return": {}, "id": number})
        await peer.send(event="BLOCK_EXPORT_DELETED", data={"id": "v2"})
        await peer.send(event="BLOCK_EXPORT_DELETED", data={"id": "v1", "last": True})
        assert await task == [{"id": "v2"}, {"id": "v1", "last": True}]


async def test_deadline_begins_again_with_everything_that_the_program_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _monitor() as (monitor, peer):
        task = asyncio.create_task(monitor.execute("block-export-del", until=_OVER))
        number = await peer.command()
        first = monitor._deadline.when() or 0
        for seconds in (1000, 2000):
            monkeypatch.setattr(qmp, "QEMU_SECONDS", seconds)
            await peer.send(event="JOB_STATUS_CHANGE", data={"id": "v1", "status": "running"})
            await until(partial(_is_extended, monitor, first + seconds / 2))
        monkeypatch.setattr(qmp, "QEMU_SECONDS", 0.6)
        await peer.send(**{"return": {}, "id": number})
        with pytest.raises(
            Internal, match="sleep did not answer the command block-export-del within 1 s"
        ):
            await task


def _is_extended(monitor: Monitor, moment: float) -> bool:
    deadline = monitor._deadline.when()
    return deadline is not None and deadline > moment
