# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work for a caller alone ends when the caller leaves the bus."""

import asyncio

import pytest

from tests.support.bus_daemon import Bus
from virtlayer.dbus.connection import Connection
from virtlayer.errors import Cancelled
from virtlayer.service.bus.departures import Departures


async def work(departures: Departures, caller: str, begun: asyncio.Event) -> None:
    async with departures.ending_with(caller):
        begun.set()
        await asyncio.Event().wait()


async def opened(bus: Bus) -> Connection:
    return await Connection.opened(session=True, address=bus.address)


async def test_disconnected_caller_cancels_only_its_own_work(bus: Bus) -> None:
    async with await opened(bus) as service, await opened(bus) as staying:
        departures = Departures(service)
        leaving = await opened(bus)
        begun = [asyncio.Event() for _ in range(3)]
        first, second, other = (
            asyncio.create_task(work(departures, str(caller.unique_name), event))
            for caller, event in zip((leaving, leaving, staying), begun, strict=True)
        )
        for event in begun:
            await event.wait()
        await leaving.close()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert second.cancelled()
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])
        assert other.cancelled()


async def test_work_for_disconnected_caller_does_not_start(bus: Bus) -> None:
    async with await opened(bus) as service:
        caller = await opened(bus)
        await caller.close()
        begun = asyncio.Event()
        with pytest.raises(Cancelled, match="left the bus"):
            await work(Departures(service), str(caller.unique_name), begun)
        assert not begun.is_set()


async def test_work_that_is_done_is_not_cancelled_later(bus: Bus) -> None:
    async with await opened(bus) as service:
        departures = Departures(service)
        caller = await opened(bus)
        async with departures.ending_with(str(caller.unique_name)):
            pass
        await caller.close()
        bus_name = "org.freedesktop.DBus"
        # Its answer is behind the signal.
        await service.ask(bus_name, "/org/freedesktop/DBus", bus_name, "GetId")
