# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cancels work for one caller when the caller disconnects from the bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dbus_next.constants import MessageFlag
from dbus_next.message import Message

from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection
from virtlayer.dbus.received import close_received
from virtlayer.errors import Cancelled

_BUS = (names.BUS_SERVICE, names.BUS_PATH, names.BUS_SERVICE)
_RULE = f"type='signal',sender='{names.BUS_SERVICE}',member='NameOwnerChanged',arg2=''"
"""One match rule for all callers, only while needed: a connection has 512 rules at most."""


class Departures:
    """Watches the bus for callers that disconnect.

    Args:
        connection: The bus; its signals are received from now on.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watched: dict[str, set[asyncio.Task[object]]] = {}
        connection.on_signal = self._note

    @contextlib.asynccontextmanager
    async def ending_with(self, caller: str) -> AsyncIterator[None]:
        """Cancel the current task in the context when a caller disconnects.

        Args:
            caller: The unique name of the caller's connection.

        Raises:
            Cancelled: The caller has already disconnected.
        """
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        if not self._watched:
            self._send("AddMatch")
        tasks = self._watched.setdefault(caller, set())
        tasks.add(task)
        try:
            # The bus answers this after it has added the rule. In its stream, the answer is behind
            # the signal.
            if await self._connection.ask(*_BUS, "NameHasOwner", "s", [caller]) != [True]:
                raise Cancelled("The caller has left the bus.")
            yield
        finally:
            tasks.discard(task)
            if not tasks:
                self._watched.pop(caller, None)
            if not self._watched:
                self._send("RemoveMatch")

    def _send(self, member: str) -> None:
        destination, path, interface = _BUS
        self._connection.send(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                flags=MessageFlag.NO_REPLY_EXPECTED,
                signature="s",
                body=[_RULE],
            )
        )

    def _note(self, message: Message) -> None:
        close_received(message.unix_fds)
        if message.sender == names.BUS_SERVICE and message.member == "NameOwnerChanged":
            name, _before, now = message.body
            if not now:
                for task in self._watched.get(name, ()):
                    task.cancel()
