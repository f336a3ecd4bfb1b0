# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small service with one of everything, and a client for it, both on a private bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from tests.support.bus_daemon import Bus
from virtlayer.dbus.connection import Connection
from virtlayer.errors import NotAuthorized, PoolNotFound
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.members import Emits, Interface, dbus_property, method, signal

NAME = "org.example.Small"
ROOT = "/org/example/small"
IFACE = "org.example.Small"


class Small(Interface):
    interface = IFACE

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number
        self.entered = asyncio.Event()
        self.at_a_time = 0
        self.most_at_a_time = 0

    @method("Echo", takes={"text": "s"}, gives={"text": "s"})
    async def echo(self, _call: Call, text: str) -> str:
        return text

    @method("Giant", gives={"text": "s"})
    async def giant(self, _call: Call) -> str:
        return "x" * (33 * 1024 * 1024)

    @method("Many", takes={"size": "u"}, gives={"text": "s", "size": "u"}, large=True)
    async def many(self, _call: Call, size: int) -> tuple[str, int]:
        self.entered.set()
        return "x" * size, size

    @method("Costly", gives={"text": "s"}, large=True)
    async def costly(self, _call: Call) -> str:
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        for _ in range(20):
            # One call of a user begins in a turn of the event loop.
            await asyncio.sleep(0)
        self.at_a_time -= 1
        return "x"

    @method("OfPool", takes={"pool": "s"}, gives={"pool": "s"}, of_pool=True)
    async def of_pool(self, _call: Call, pool: str) -> str:
        if pool == "hung":
            self.entered.set()
            await asyncio.Event().wait()
        return pool

    @method("Raise", takes={"what": "s"})
    async def fail(self, _call: Call, what: str) -> None:
        errors: Mapping[str, BaseException] = {
            "ours": PoolNotFound('No pool "x\0y".'),
            "defect": ZeroDivisionError("a secret detail"),
            "group": ExceptionGroup("several", [ValueError("a secret detail")]),
            "cancelled": asyncio.CancelledError(),
        }
        raise errors[what]

    @method("WrongResult", gives={"number": "u"})
    async def wrong_result(self, _call: Call) -> str:
        return "no number"

    @method("Sleep")
    async def sleep(self, _call: Call) -> None:
        self.entered.set()
        await asyncio.Event().wait()

    @method("Take", takes={"options": "a{sv}"}, gives={"content": "s"})
    async def take(self, call: Call, options: dict[str, Variant]) -> str:
        with contextlib.ExitStack() as belongings:
            descriptor = call.take_descriptor(options["fd"].value, belongings)
            with open(descriptor, encoding="utf-8", closefd=False) as file:
                return file.read()

    @method("Burst", takes={"number": "u"})
    async def burst(self, _call: Call, number: int) -> None:
        for index in range(number):
            self.happened(index, "x" * 500)

    @signal("Happened", number="u", text="s")
    def happened(self, number: int, text: str) -> None: ...

    @dbus_property("Number", "u")
    def current(self) -> int:
        return self.number

    @dbus_property("Always", "s", emits=Emits.CONST)
    def always(self) -> str:
        return "the same"

    @dbus_property("Quiet", "t", emits=Emits.NOTHING)
    def quiet(self) -> int:
        return 7


class Broken(Interface):
    interface = "org.example.Broken"

    @dbus_property("Bad", "u")
    def bad(self) -> int:
        raise OSError("a secret detail")

    @dbus_property("Good", "u")
    def good(self) -> int:
        return 1


class Pair:
    """The service's side and the client's side."""

    def __init__(self, server: Connection, client: Connection, exporter: Exporter) -> None:
        self.server = server
        self.client = client
        self.exporter = exporter
        self.root = Small()
        self.signals: asyncio.Queue[Message] = asyncio.Queue()
        client.on_signal = self.signals.put_nowait

    async def call(
        self, member: str, signature: str = "", body: list[Any] | None = None, **where: Any
    ) -> Message:
        """Call the service, and return its reply or error."""
        reply = await self.client.call(
            Message(
                **(
                    {"destination": NAME, "path": ROOT, "interface": IFACE, "member": member}
                    | {"signature": signature, "body": body or []}
                    | where
                )
            )
        )
        assert reply is not None
        return reply

    async def value(self, member: str, signature: str = "", body: Any = None, **where: Any) -> Any:
        """Call the service, and return the one value of its reply."""
        reply = await self.call(member, signature, body, **where)
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply.body[0]

    async def error(self, member: str, signature: str = "", body: Any = None, **where: Any) -> str:
        """Call the service, and return the name of the error that it answers with."""
        reply = await self.call(member, signature, body, **where)
        assert reply.message_type is MessageType.ERROR, reply.body
        name: str = reply.error_name
        return name

    async def watch(self, rule: str = f"type='signal',sender='{NAME}'") -> None:
        """Let the client get signals."""
        await self.client.ask(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
            "s",
            [rule],
        )

    async def signal(self, member: str) -> Message:
        """Return the next signal of this name."""
        while True:
            message = await self.signals.get()
            if message.member == member:
                return message


async def everyone(_call: Call) -> None:
    """Admit every caller."""


async def nobody(_call: Call) -> None:
    """Admit no caller."""
    raise NotAuthorized("Nobody is served.")


@contextlib.asynccontextmanager
async def pair(bus: Bus, *, closed_to_all: bool = False) -> AsyncIterator[Pair]:
    """Run the service and connect the client."""
    async with (
        await Connection.opened(session=True, address=bus.address) as server,
        await Connection.opened(session=True, address=bus.address) as client,
    ):
        exporter = Exporter(server, ROOT, nobody if closed_to_all else everyone)
        both = Pair(server, client, exporter)
        exporter.export(ROOT, both.root)
        exporter.listen()
        assert await server.own(NAME)
        yield both
        await exporter.finish(0)


def no_reply(message: Message) -> Message:
    """Mark a call as one whose sender wants no answer."""
    message.flags |= MessageFlag.NO_REPLY_EXPECTED
    return message


def open_descriptors() -> int:
    """Count this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))
