# SPDX-License-Identifier: LGPL-2.1-or-later
"""A connection stays up and leaks nothing with any kind of message."""

import asyncio
import os
import socket
import tempfile

import pytest
from dbus_next.constants import MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.bus.service import IFACE, NAME, ROOT, Pair, no_reply, open_descriptors, pair
from tests.support.bus_daemon import Bus
from tests.support.waiting import wait_until_closed
from virtlayer.dbus.connection import BusError, Connection

pytestmark = pytest.mark.usefixtures("descriptors")


async def test_five_thousand_signals_in_one_tick_arrive_in_order(bus: Bus) -> None:
    async with pair(bus) as both:
        await both.watch()
        for number in range(5000):
            both.root.happened(number, "x" * 500)
        numbers = [(await both.signal("Happened")).body[0] for _ in range(5000)]
        assert numbers == list(range(5000))
        assert await both.value("Echo", "s", ["still here"]) == "still here"


async def test_megabytes_go_both_ways(bus: Bus) -> None:
    async with pair(bus) as both:
        text = "0123456789" * 800_000
        assert await both.value("Echo", "s", [text]) == text


async def test_a_reply_that_the_bus_would_punish_is_an_error(bus: Bus) -> None:
    async with pair(bus) as both:
        assert await both.error("Giant") == "org.freedesktop.DBus.Error.LimitsExceeded"
        assert await both.value("Echo", "s", ["still here"]) == "still here"


async def test_client_that_does_not_read_delays_no_other(bus: Bus) -> None:
    async with pair(bus) as both:
        deaf = await Connection.opened(session=True, address=bus.address)
        await deaf.ask(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
            "s",
            [f"type='signal',sender='{NAME}'"],
        )
        asyncio.get_running_loop().remove_reader(deaf._fd)
        for _ in range(100):
            await deaf.send(
                Message(
                    destination=NAME,
                    path=ROOT,
                    interface=IFACE,
                    member="Echo",
                    signature="s",
                    body=["x" * 100_000],
                )
            )
        for _ in range(10):
            await both.call("Burst", "u", [1000])
        assert await both.value("Echo", "s", ["still here"]) == "still here"
        asyncio.get_running_loop().add_reader(deaf._fd, deaf._message_reader)
        await deaf.close()


@pytest.mark.parametrize(
    "where",
    [
        {"member": "Echo"},
        {"member": "NoSuchMethod"},
        {"path": "/no/such/object"},
        {"interface": "org.example.None"},
    ],
)
async def test_descriptors_of_calls_that_do_not_want_them_are_closed(
    bus: Bus, where: dict[str, str]
) -> None:
    async with pair(bus) as both:
        with tempfile.TemporaryFile() as file:
            await both.call("Echo", "s", ["first"])
            before = open_descriptors()
            for _ in range(10):
                await both.call(
                    where.get("member", "Echo"),
                    "s" if where.get("member") == "Echo" else "h",
                    ["x"] if where.get("member") == "Echo" else [0],
                    unix_fds=[file.fileno()],
                    **{key: value for key, value in where.items() if key != "member"},
                )
            wait_until_closed()
            assert open_descriptors() == before


async def test_descriptors_of_signals_and_unasked_replies_are_closed(bus: Bus) -> None:
    async with pair(bus) as both:
        unique = str(both.server.unique_name)
        with tempfile.TemporaryFile() as file:
            await both.call("Echo", "s", ["first"])
            before = open_descriptors()
            for _ in range(10):
                both.client.send(
                    Message(
                        destination=unique,
                        path="/",
                        interface="org.example.X",
                        member="Unasked",
                        message_type=MessageType.SIGNAL,
                        signature="h",
                        body=[0],
                        unix_fds=[file.fileno()],
                    )
                )
            await both.call("Echo", "s", ["last"])
            wait_until_closed()
            assert open_descriptors() == before


async def test_a_taken_descriptor_is_the_senders_file_and_not_inherited(bus: Bus) -> None:
    async with pair(bus) as both:
        with tempfile.TemporaryFile() as file:
            file.write(b"content")
            file.flush()
            file.seek(0)
            options = {"fd": Variant("h", 0)}
            assert (
                await both.value("Take", "a{sv}", [options], unix_fds=[file.fileno()]) == "content"
            )


async def test_received_descriptors_are_closed_in_children(bus: Bus) -> None:
    async with pair(bus) as both:
        seen: list[bool] = []

        def look(message: Message) -> None:
            seen.extend(os.get_inheritable(descriptor) for descriptor in message.unix_fds)
            for descriptor in message.unix_fds:
                os.close(descriptor)
            both.server.reply(message, "", [])

        both.server.on_call = look
        with tempfile.TemporaryFile() as file:
            await both.call("Look", "hh", [0, 1], unix_fds=[file.fileno(), file.fileno()])
        assert seen == [False, False]


async def test_a_descriptor_that_did_not_come_is_the_callers_error(bus: Bus) -> None:
    async with pair(bus) as both:
        error = await both.error("Take", "a{sv}", [{"fd": Variant("h", 3)}])
        assert error == "org.virtlayer1.Error.InvalidArgument"


async def test_message_of_unknown_type_does_not_end_the_connection(bus: Bus) -> None:
    async with pair(bus) as both:
        unique = str(both.server.unique_name)
        message = Message(destination=unique, path=ROOT, interface=IFACE, member="Echo")
        message.serial = both.client.next_serial()
        content = message._marshall()
        content[1] = 77
        await _send_raw(both, bytes(content))
        assert await both.value("Echo", "s", ["still here"]) == "still here"


async def test_a_call_without_reply_is_done_and_not_answered(bus: Bus) -> None:
    async with pair(bus) as both:
        await both.watch()
        call = Message(
            destination=NAME, path=ROOT, interface=IFACE, member="Burst", signature="u", body=[1]
        )
        both.client.send(no_reply(call))
        assert (await both.signal("Happened")).body[0] == 0
        for member in ("NoSuchMethod", "Raise"):
            both.client.send(
                no_reply(Message(destination=NAME, path=ROOT, interface=IFACE, member=member))
            )
        assert await both.value("Echo", "s", ["still here"]) == "still here"


async def test_another_services_error_is_raised(bus: Bus) -> None:
    async with await Connection.opened(session=True, address=bus.address) as connection:
        with pytest.raises(BusError) as caught:
            await connection.ask("org.example.Nobody", "/", "org.example.X", "Y")
        assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"


async def test_a_name_is_neither_taken_from_another_nor_waited_for(bus: Bus) -> None:
    async with (
        await Connection.opened(session=True, address=bus.address) as first,
        await Connection.opened(session=True, address=bus.address) as second,
    ):
        assert await first.own(NAME)
        assert not await second.own(NAME)
        assert await first.disown(NAME)
        assert await second.own(NAME)


async def test_the_end_of_the_bus_is_noticed_and_pending_calls_fail(bus: Bus) -> None:
    async with pair(bus) as both:
        pending = asyncio.create_task(both.call("Sleep"))
        await both.root.entered.wait()
        os.kill(bus.pid, 15)
        with pytest.raises(EOFError):
            await both.server.ended()
        with pytest.raises(EOFError):
            await pending
        with pytest.raises(EOFError):
            await both.server.own(NAME)
        with pytest.raises(EOFError):
            await both.call("Sleep")


async def test_no_bus_is_a_connection_error(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(ConnectionError, match="Cannot connect to the bus at"):
        await Connection.opened(session=True, address=f"unix:path={tmp_path}/nothing")


async def test_malformed_bus_replies_are_connection_errors(
    tmp_path: os.PathLike[str],
) -> None:
    def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    path = f"{tmp_path}/odd"
    server = await asyncio.start_unix_server(answer, path)
    async with server:
        with pytest.raises(ConnectionError, match="refused the connection"):
            await Connection.opened(session=True, address=f"unix:path={path}")


async def _send_raw(both: Pair, content: bytes) -> None:
    assert isinstance(both.client._sock, socket.socket)
    both.client._sock.setblocking(True)
    both.client._sock.sendall(content)
    both.client._sock.setblocking(False)
