# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors in calls: no caller's descriptor delays other callers."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.daemon import MANAGER, ROOT, SERVICE, virtlayerd
from tests.support.bus_daemon import session_bus
from tests.support.waiting import until
from virtlayer.dbus.connection import Connection

VOLUME = {"volume": Variant("s", "volume")}
CALLS: dict[str, tuple[str, str, list[Any]]] = {
    "auth-fd": ("Pull", "ssa{sv}", ["docker://x.test/y", "nowhere", VOLUME]),
    "root-password-fd": ("Pull", "ssa{sv}", ["docker://x.test/y", "nowhere", VOLUME]),
    "user-data-fd": ("CreateDomain", "sssa{sv}", ["nowhere", "image", "web", {}]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_silent_descriptor_delays_only_its_own_call(tmp_path: Path, name: str) -> None:
    member, signature, [*arguments, options] = CALLS[name]
    (tmp_path / "bus").mkdir()
    with session_bus(tmp_path / "bus") as bus:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
        async with (
            virtlayerd(bus, tmp_path) as daemon,
            await Connection.opened(session=True, address=bus.address) as caller,
        ):
            with ours, theirs:
                theirs.send(b"{")
                call = Message(
                    destination=SERVICE,
                    path=ROOT,
                    interface=MANAGER,
                    member=member,
                    signature=signature,
                    body=[*arguments, {name: Variant("h", 0), **options}],
                    unix_fds=[ours.fileno()],
                )
                answer = asyncio.create_task(caller.call(call))
                # The service has begun with it when it has its own copy.
                await until(lambda: len(sockets_of(daemon.process.pid, ours)) >= 1)
                assert await daemon.ask("ListJobs") == []
                assert not answer.done()
            reply = await answer
            assert reply is not None
            if name == "auth-fd":
                assert reply.error_name == "org.virtlayer1.Error.InvalidArgument"


def sockets_of(pid: int, end: socket.socket) -> list[str]:
    """The descriptors of a process that are this socket."""
    wanted = str(Path(f"/proc/self/fd/{end.fileno()}").readlink())
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target == wanted:
            found.append(entry.name)
    return found
