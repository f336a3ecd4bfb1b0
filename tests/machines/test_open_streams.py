# SPDX-License-Identifier: LGPL-2.1-or-later
"""OpenStreams and OpenConsole on a bus; the machine is not started."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.bus_daemon import session_bus
from tests.support.defined_machines import METADATA, defined_machine
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import qemu_img
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE
from virtlayer.client.bus.caller import Client
from virtlayer.client.host import ThisHost
from virtlayer.dbus import names
from virtlayer.dbus.connection import BusError, Connection
from virtlayer.errors import (
    DomainNotFound,
    InUse,
    InvalidArgument,
    VirtlayerError,
)
from virtlayer.protocol.streams import Record, RecordKind

NO_POOL = "00000000-0000-0000-0000-000000000000"
MACHINE = METADATA.format(image="demo", digest="", pool=NO_POOL, volume="web.qcow2")
LIVE = Record(RecordKind.LIVE).encoded()
STOPPED = Record(RecordKind.ENDED, b"stopped").encoded()
IDLE = 5.0
"""Seconds; longer than the first call takes, also where the machine is busy."""
SETTINGS = f"[service]\nidle-timeout = {IDLE:.0f}\n"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client of a service that exits when it is idle for some seconds."""

    daemon: Daemon
    client: Client
    bus: Connection


@pytest.fixture
async def caller(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[Caller]:
    (tmp_path / "bus").mkdir()
    disk = host.directory / "web.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(disk), "64M")
    with (
        session_bus(tmp_path / "bus") as bus,
        defined_machine(host, "web", disk, metadata=MACHINE),
        defined_machine(host, "other", disk),
    ):
        async with await Connection.opened(session=True, address=bus.address) as connection:
            client = Client(connection, ThisHost(session=True), session=True)
            # As late as possible, because it exits without a call.
            with virtlayerd(host, bus, tmp_path, settings=SETTINGS) as daemon:
                yield Caller(daemon, client, connection)


async def received(stream: socket.socket, size: int) -> bytes:
    stream.setblocking(False)
    loop = asyncio.get_running_loop()
    content = b""
    async with asyncio.timeout(PATIENCE):
        while len(content) < size and (chunk := await loop.sock_recv(stream, size - len(content))):
            content += chunk
    return content


async def test_service_does_not_exit_while_a_stream_is_open(caller: Caller) -> None:
    process = caller.daemon.process
    with await caller.client.open_streams("web", follow=True) as stream:
        assert await received(stream, len(LIVE)) == LIVE
        await asyncio.sleep(IDLE + 1.5)
        assert process.poll() is None
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_stream_ends_when_the_machine_is_removed(caller: Caller, host: LibvirtHost) -> None:
    with await caller.client.open_streams("web", follow=True, sends=True) as stream:
        with pytest.raises(InUse, match='machine "web"'):
            await caller.client.open_streams("web", follow=True, sends=True)
        host.virsh("undefine", "web")
        assert await received(stream, 1000) == LIVE + STOPPED


async def test_stopping_service_says_so(caller: Caller) -> None:
    with await caller.client.open_streams("web", follow=True) as stream:
        caller.daemon.process.terminate()
        content = await received(stream, 1000)
    assert b"virtlayerd is stopping" in content


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("other", {}, DomainNotFound),
        ("nothing", {}, DomainNotFound),
        ("a/b", {}, InvalidArgument),
        ("web", {"sends": True}, InvalidArgument),
        ("web", {"sends": True, "follow": True, "kernel": True}, InvalidArgument),
    ],
)
async def test_refused_streams(
    caller: Caller, name: str, options: dict[str, bool], error: type[VirtlayerError]
) -> None:
    with pytest.raises(error):
        await caller.client.open_streams(name, **options)


async def test_console_is_a_terminal_that_ends_with_the_machine(
    caller: Caller, host: LibvirtHost
) -> None:
    call = Message(
        destination=names.SERVICE,
        path=names.ROOT,
        interface=names.MANAGER,
        member="OpenConsole",
        signature="s",
        body=["web"],
    )
    reply = await caller.bus.call(call)
    assert reply is not None
    [terminal] = reply.unix_fds
    try:
        assert os.isatty(terminal)
        host.virsh("undefine", "web")
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(terminal, ended.set)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        loop.remove_reader(terminal)
        with pytest.raises(OSError, match="Input/output error"):
            os.read(terminal, 100)
    finally:
        os.close(terminal)


async def test_unknown_option_is_refused(caller: Caller) -> None:
    with pytest.raises(BusError, match="UnknownOption"):
        await caller.bus.ask(
            names.SERVICE,
            names.ROOT,
            names.MANAGER,
            "OpenStreams",
            "sa{sv}",
            ["web", {"tails": Variant("t", 1)}],
        )
