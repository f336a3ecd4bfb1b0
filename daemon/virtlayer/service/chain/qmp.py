# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client for QMP, the control protocol of qemu's programs.

Commands, replies and events are JSON objects, one a line. The monitor reads a command byte by byte,
at 3.6 µs each, which takes longer than executing most commands. So names are short, there is no
space between words, and defaults are omitted.
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
    """The event that ends a command that continues after its reply.

    Attributes:
        name: Its name in QMP.
        data: Items that its data must contain.
    """

    name: str
    data: Mapping[str, str]


class Monitor:
    """A running program with a QMP monitor.

    It may still be starting: the first command waits for that. Commands of several tasks are
    executed one after the other. The reply to an abandoned command is ignored.

    Args:
        connection: Our end of the monitor's socket, non-blocking; the caller closes it.
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
        """The deadline of the current command; extended by everything that the program sends."""

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        until: Event | None = None,
    ) -> Any:
        """Execute a command.

        Args:
            command: Its name.
            arguments: Its arguments.
            until: The event that ends it; None if its reply does.

        Returns:
            Its result; with ``until``, the data of all events of that name up to this one.

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
                    pass  # reply to an abandoned command
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
