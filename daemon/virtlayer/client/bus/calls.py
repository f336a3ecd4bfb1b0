# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls of methods of ``org.virtlayer1`` on a connection; our errors are raised."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message

from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.failures import remote_error
from virtlayer.client.bus.values import Options, encoded_options, plain_dict
from virtlayer.client.host import Host, ThisHost
from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection
from virtlayer.dbus.structure import MessageLimits
from virtlayer.errors import InvalidArgument, NoSuchJob, ServiceUnavailable, VirtlayerError
from virtlayer.sizes import MIB

_NO_BUS = {
    False: "To use your own service on the session bus, add --user.",
    True: "If there is no session bus, start one for your commands: dbus-run-session -- bash",
}
"""What to do without a bus, by whether it is the session bus."""
_REMOTE_LIMITS = MessageLimits(size=32 * MIB, values=2**21, depth=32)
"""The largest reply has a value for each 16 bytes: lists of thousands of jobs or images."""


class Calls:
    """A connection to virtlayerd; made with ``connected``.

    Attributes:
        host: The host where it runs.
    """

    calls_at_once = 8
    """The number of parallel calls, below the service's limit for one user."""

    def __init__(self, bus: Connection, host: Host, *, session: bool) -> None:
        self.host = host
        self._bus = bus
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, *, session: bool) -> AsyncIterator[Self]:
        """Connect to a bus for as long as the context lasts.

        Args:
            session: The session bus of the calling user instead of the system bus.

        Raises:
            ServiceUnavailable: There is no such bus, or it refuses the connection.
        """
        try:
            bus = await Connection.opened(session=session)
        except ConnectionError as error:
            raise ServiceUnavailable(f"{error} {_NO_BUS[session]}") from error
        async with bus:
            yield cls(bus, ThisHost(session=session), session=session)

    @classmethod
    @contextlib.asynccontextmanager
    async def connected_by(
        cls, bus: socket.socket, host: Host, *, session: bool
    ) -> AsyncIterator[Self]:
        """Connect to the bus of another host for as long as the context lasts.

        Args:
            bus: A socket to that bus.
            host: The host.
            session: Whether it is a session bus.

        Raises:
            ServiceUnavailable: The bus ended the connection.
        """
        try:
            connection = await Connection.opened_by(bus, _REMOTE_LIMITS)
        except ConnectionError as error:
            raise ServiceUnavailable(f"{host.name}: {error}") from error
        async with connection:
            yield cls(connection, host, session=session)

    async def start(
        self, member: str, signature: str, *arguments: object, options: Options | None = None
    ) -> StartedJob:
        """Start a job by a method of the manager; ``wait`` reports its progress and end.

        Args:
            member: The method.
            signature: The signature of its arguments; the last one is its options.
            arguments: The arguments without the options.
            options: The options.
        """
        reply = await self._manager(member, signature, *arguments, options=options or {})
        identifier, path = reply.body
        return StartedJob(identifier, path, reply.sender)

    async def _all_present(
        self, paths: Sequence[str], interface: str
    ) -> list[tuple[str, dict[str, Any]]]:
        """Objects and their properties, without those that no longer exist."""
        turns = asyncio.Semaphore(self.calls_at_once)

        async def ask(path: str) -> dict[str, Any] | None:
            async with turns:
                try:
                    return await self._properties(path, interface)
                except NoSuchJob:  # the error for every unknown object
                    return None

        found = await asyncio.gather(*map(ask, paths))
        return [(path, one) for path, one in zip(paths, found, strict=True) if one is not None]

    async def _properties(self, path: str, interface: str) -> dict[str, Any]:
        reply = await self._call(path, names.PROPERTIES, "GetAll", "s", interface)
        return plain_dict(reply.body[0])

    async def _receive(self, rule: str) -> None:
        """Receive the signals that match a rule of the bus from now on."""
        await self._call(
            names.BUS_PATH,
            names.BUS_SERVICE,
            "AddMatch",
            "s",
            rule,
            destination=names.BUS_SERVICE,
        )

    def _where_it_logs(self) -> str:
        flag = "--user " if self._session else ""
        return f'See "journalctl {flag}--unit virtlayerd"{self._there()} for the cause.'

    def _there(self) -> str:
        return f" on {self.host.name}" if self.host.name else ""

    async def _manager(
        self, member: str, signature: str, *arguments: object, options: Options | None = None
    ) -> Message:
        if options is None:
            return await self._call(names.ROOT, names.MANAGER, member, signature, *arguments)
        encoded, descriptors = encoded_options(options)
        return await self._call(
            names.ROOT,
            names.MANAGER,
            member,
            signature,
            *arguments,
            encoded,
            descriptors=descriptors,
        )

    async def _call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str,
        *arguments: object,
        destination: str = names.SERVICE,
        descriptors: list[int] | None = None,
    ) -> Message:
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(arguments),
            unix_fds=descriptors or [],
            flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION,
        )
        try:
            # A call on a lost connection would never be answered.
            reply = await self._bus.call(message) if self._bus.connected else None
        except (OSError, EOFError):
            reply = None
        except ValueError as error:
            raise InvalidArgument(f"An argument cannot be sent over D-Bus: {error}.") from error
        if reply is None:
            raise ServiceUnavailable("The connection to the bus was lost.")
        if reply.message_type is MessageType.ERROR:
            raise self._error(reply)
        return reply

    def _error(self, reply: Message) -> VirtlayerError:
        message = str(reply.body[0]) if reply.body else reply.error_name
        error = remote_error(reply.error_name, message)
        if isinstance(error, ServiceUnavailable):
            hint = "Start it: virtlayerd --session"
            if not self._session:
                hint = "Start it: systemctl start virtlayerd. To use your own service, add --user."
            return ServiceUnavailable(
                f"virtlayerd{self._there()} is unavailable ({message.rstrip('.')}). {hint}"
            )
        return error
