# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connections of other users to a bus, for tests that are root."""

import contextlib
import os
import pwd
from collections.abc import AsyncIterator, Sequence
from typing import Any

from dbus_next.constants import MessageType
from dbus_next.message import Message

from tests.support.bus_daemon import Bus
from virtlayer.dbus.connection import Connection

SERVICE = "org.virtlayer1"
ROOT = "/org/virtlayer1"
MANAGER = "org.virtlayer1.Manager"


class User:
    """A user's connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.signals: list[Message] = []
        connection.on_signal = self.signals.append

    async def call(
        self,
        member: str,
        signature: str = "",
        *body: object,
        path: str = ROOT,
        interface: str = MANAGER,
        descriptors: Sequence[int] = (),
    ) -> Message:
        """Call a method of the service; return the reply or the error."""
        reply = await self.connection.call(
            Message(
                destination=SERVICE,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
                unix_fds=list(descriptors),
            )
        )
        assert reply is not None
        return reply

    async def ask(self, member: str, signature: str = "", *body: object, **where: Any) -> Any:
        """Call a method that works; return its one value, or all of them."""
        reply = await self.call(member, signature, *body, **where)
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply.body[0] if len(reply.body) == 1 else reply.body

    async def refused(
        self, member: str, signature: str = "", *body: object, **where: Any
    ) -> tuple[str, str]:
        """Call a method that fails; return the last part of the error's name, and its text."""
        reply = await self.call(member, signature, *body, **where)
        assert reply.message_type is MessageType.ERROR, reply.body
        return reply.error_name.rpartition(".")[2], reply.body[0]

    async def listen(self) -> None:
        """Get the service's signals from now on."""
        bus = "org.freedesktop.DBus"
        rule = f"type='signal',sender='{SERVICE}'"
        await self.connection.ask(bus, "/org/freedesktop/DBus", bus, "AddMatch", "s", [rule])


@contextlib.asynccontextmanager
async def user(bus: Bus, name: str) -> AsyncIterator[User]:
    """Connect a user to a bus.

    Args:
        bus: The bus.
        name: Of the account.
    """
    uid = pwd.getpwnam(name).pw_uid
    # The kernel notes the uid when the socket is connected; dbus-next sends the real one.
    os.setresuid(uid, uid, 0)
    try:
        connection = await Connection.opened(session=bus.session, address=bus.address)
    finally:
        os.setresuid(0, 0, 0)
    async with connection:
        yield User(connection)
