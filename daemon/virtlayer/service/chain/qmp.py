# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client for QMP, the protocol by which qemu's programs are told what to do.

Commands, replies and events are JSON objects, one a line. The monitor reads a command byte by byte,
which takes it 3.6 µs each, more than to obey most of them: so names are short, there is no space
between words, and what is the default is not said.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from virtlayer.errors import Internal
from virtlayer.protocol.deadlines import QEMU_SECONDS
from virtlayer.service.keeper.programs import Program
from virtlayer.sizes import KIB

_READ_SIZE = 64 * KIB


class CommandFailed(Exception):
    """A program refused a command, or a job of it failed; the text is the program's."""


@dataclass(frozen=True, slots=True)
class Event:
    """The event that ends a command which goes on after its reply.

    Attributes:
        name: What QMP calls it.
        data: What it has in its data, among other things.
    """

    name: str
    data: Mapping[str, str]


class Monitor:
    """A running program that obeys QMP.

    It may still be starting: the first command waits for that. Commands of several tasks are obeyed
    one after the other. The reply to one that was given up is passed over when it comes.

    Args:
        connection: Our end of the monitor's socket, not blocking; stays the caller's to close.
        program: The program.
    """

    def __init__(self, connection: socket.socket, program: Program) -> None:
        self._connection = connection
        self._program = program
        self._turn = asyncio.Lock()
        self._unread = b""
        self._negotiated = False
        self._numbers = itertools.count()
        self._half_sent = False
        self._deadline = asyncio.timeout(None)
        """Of the command that is being executed; put off by everything that the program sends."""

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        until: Event | None = None,
    ) -> Any:
        """Have a command obeyed.

        Args:
            command: Its name.
            arguments: Its arguments.
            until: The event that says that it is over; None if its reply says so.

        Returns:
            What it returns; with ``until``, the data of all events of that name up to this one.

        Raises:
            CommandFailed: It was refused.
            ProgramFailed: The program has ended, or cannot be run.
            Internal: The program sent nothing for ``QEMU_SECONDS``.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(QEMU_SECONDS) as self._deadline:
                    if not self._negotiated:
                        await self._exchange("qmp_capabilities", None, None)
                        self._negotiated = True
                    return await self._exchange(command, arguments, until)
            except TimeoutError as error:
                raise Internal(
                    f"{self._program.name} did not answer the command {command} within "
                    f"{QEMU_SECONDS:.0f} s. Check that the storage of the pool responds."
                ) from error

    async def _exchange(
        self,
        command: str,
        arguments: Mapping[str, object] | None,
        until: Event | None,
    ) -> Any:
        number = next(self._numbers)
        await self._send(command, arguments, number)
        replied = False
        over = until is None
        value = None
        events: list[dict[str, object]] = []
        while not (replied and over):
            match await self._message():
                case {"id": int(answered)} if answered != number:
                    pass  # to a command that was given up
                case {"return": value}:
                    replied = True
                case {"error": {"desc": str(description)}}:
                    raise CommandFailed(f"{self._program.name}: {description}")
                case {"event": str(name), "data": dict(data)} if until and until.name == name:
                    # It may come before the reply.
                    events.append(data)
                    over = over or until.data.items() <= data.items()
        return value if until is None else events

    async def _send(
        self, command: str, arguments: Mapping[str, object] | None, number: int
    ) -> None:
        message: dict[str, object] = {"execute": command, "id": number}
        if arguments:
            message["arguments"] = arguments
        line = json.dumps(message, separators=(",", ":")).encode()
        if self._half_sent:
            raise Internal(f"A command to {self._program.name} was interrupted.")
        self._half_sent = True
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, line)
        except ConnectionError:
            await self._ended()
        self._half_sent = False

    async def _message(self) -> Any:
        while b"\n" not in self._unread:
            try:
                read = await asyncio.get_running_loop().sock_recv(self._connection, _READ_SIZE)
            except ConnectionError:
                read = b""
            if not read:
                await self._ended()
            self._deadline.reschedule(asyncio.get_running_loop().time() + QEMU_SECONDS)
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    async def _ended(self) -> NoReturn:
        await self._program.wait()
        raise self._program.failure()
