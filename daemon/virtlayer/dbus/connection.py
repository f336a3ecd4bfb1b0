# SPDX-License-Identifier: LGPL-2.1-or-later
"""A robust connection to the bus, on dbus-next's low level.

What it changes in dbus-next 0.2.3: the writer and the reader (``wire``, ``reader``), the dispatch,
which there answers calls with tracebacks and forgets descriptors, and the end of a connection,
which there leaves the socket open, and a later call without an end.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Self

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import (
    MessageFlag,
    MessageType,
    NameFlag,
    ReleaseNameReply,
    RequestNameReply,
)
from dbus_next.errors import AuthError, DBusError
from dbus_next.message import Message

from virtlayer.dbus import names
from virtlayer.dbus.addresses import bus_address
from virtlayer.dbus.reader import Reader, RefusedMessage
from virtlayer.dbus.received import close_received
from virtlayer.dbus.structure import MessageLimits
from virtlayer.dbus.wire import MessageTooLarge, Writer, marshalled

__all__ = ["BusError", "Connection", "MessageTooLarge", "caller_uid"]

_CLOSE_PATIENCE = 2.0
"""Seconds."""
_MESSAGES_A_TURN = 64
"""So many messages are taken in before the event loop serves others: one client's flood of calls
does not hold up the rest."""

_REFUSED_CALL = f"{names.ERROR_PREFIX}InvalidArgument"
_REFUSED_REPLY = f"{names.STANDARD_ERROR_PREFIX}LimitsExceeded"


class BusError(Exception):
    """Another service answered with an error.

    Args:
        name: The D-Bus error name.
        text: The message of the error.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Connection(MessageBus):
    """One connection; ``await Connection.opened(…)`` makes it.

    ``on_call`` gets every method call, and owns its descriptors; ``on_signal`` gets every signal,
    without descriptors.
    """

    def __init__(
        self, address: str, limits: MessageLimits | None, connected: socket.socket | None = None
    ) -> None:
        self._connected_socket = connected
        try:
            super().__init__(address, negotiate_unix_fd=True)
        except OSError:
            if hasattr(self, "_sock"):
                self._close_socket()
            raise
        self._incoming = Reader(self._sock, limits)
        self._outgoing = Writer(self._sock, self._loop)
        self._writer = self._outgoing  # type: ignore[assignment] # with the method that it calls
        self.on_call: Callable[[Message], None] = _close
        self.on_signal: Callable[[Message], None] = _ignore

    @classmethod
    async def opened(
        cls, *, session: bool, address: str | None = None, limits: MessageLimits | None = None
    ) -> "Connection":
        """Connect.

        Args:
            session: Whether to the session bus; otherwise to the system bus.
            address: Where the bus is, if not where the environment says.
            limits: What a received message may contain. A call beyond them is answered with
                InvalidArgument. None to accept what the bus lets through.

        Raises:
            ConnectionError: There is no bus, or it refuses the connection.
        """
        address = address or bus_address(session=session)
        try:
            connection = cls(address, limits)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConnectionError(f"Cannot connect to the bus at {address}: {reason}.") from error
        try:
            await connection.connect()
        except BaseException as error:
            connection._finalize(error)
            if isinstance(error, OSError | EOFError | AuthError):
                raise ConnectionError(
                    f"The bus at {address} refused the connection: {error}."
                ) from error
            raise
        return connection

    @classmethod
    async def opened_by(cls, connected: socket.socket, limits: MessageLimits) -> "Connection":
        """Connect by a socket whose other end passes messages on to a bus.

        Args:
            connected: The socket; it stays the caller's. It needs no authentication.
            limits: What a received message may contain.

        Raises:
            ConnectionError: The socket was closed.
        """
        connection = cls("unix:path=/", limits, connected)
        try:
            await connection.connect()
        except BaseException as error:
            connection._finalize(error)
            if isinstance(error, OSError | EOFError):
                raise ConnectionError("The connection to the bus was lost.") from error
            raise
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect when the bus has received every message, or no longer reads them."""
        if not self._disconnected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outgoing.drained(), _CLOSE_PATIENCE)
            self.disconnect()  # type: ignore[no-untyped-call] # dbus-next
        with contextlib.suppress(OSError, EOFError):
            await self.ended()

    async def ended(self) -> None:
        """Wait for the end of the connection.

        Raises:
            EOFError: The bus ended it.
            OSError: It broke.
        """
        # Cancelling one waiter must not cancel the others, or later ones.
        await asyncio.shield(self._disconnect_future)

    async def ask(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
    ) -> list[Any]:
        """Call a method of another service.

        Returns:
            The body of the reply.

        Raises:
            BusError: It answered with an error.
            EOFError: The connection ended.
        """
        reply = await self.call(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert reply is not None, "a call without NO_REPLY_EXPECTED has a reply"
        close_received(reply.unix_fds)
        if reply.message_type is MessageType.ERROR:
            raise BusError(reply.error_name, str(reply.body[0]) if reply.body else "")
        return reply.body

    async def own(self, name: str) -> bool:
        """Take a well-known name if nobody has it; neither replace the owner nor wait.

        Raises:
            BusError: The policy of the bus does not allow it.
            EOFError: The connection ended.
        """
        try:
            reply = await self.request_name(name, NameFlag.DO_NOT_QUEUE)
        except DBusError as error:
            raise BusError(error.type, error.text) from error
        return reply in {RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER}

    async def disown(self, name: str) -> bool:
        """Give a well-known name back.

        When this returns, every call that the bus routed to us by the name has been dispatched:
        they are ahead of the reply in the stream.
        """
        return await self.release_name(name) is ReleaseNameReply.RELEASED

    def send(self, msg: Message) -> asyncio.Future[None]:  # type: ignore[override] # as in its aio
        """Queue a message; the future is done at once.

        Raises:
            MessageTooLarge: The bus would disconnect us for it.
            ValueError: The body does not match the signature.
        """
        if not msg.serial:
            msg.serial = self.next_serial()
        if not self._disconnected:
            self._outgoing.add(msg)
        queued: asyncio.Future[None] = self._loop.create_future()
        queued.set_result(None)
        return queued

    def reply(
        self,
        call: Message,
        signature: str,
        body: Sequence[object],
        descriptors: Sequence[int] = (),
    ) -> None:
        """Answer a call, unless its sender wants no reply.

        Args:
            call: The call.
            signature: Of the body.
            body: The values; an ``h`` is the place of a descriptor.
            descriptors: They stay the caller's.

        Raises:
            ValueError: The body does not match the signature.
        """
        if not call.flags & MessageFlag.NO_REPLY_EXPECTED:
            self.send(Message.new_method_return(call, signature, list(body), list(descriptors)))

    async def marshalled_reply(
        self, call: Message, signature: str, body: Callable[[], Sequence[object]]
    ) -> bytearray:
        """Make the reply to a call in a thread, because it is large.

        Args:
            call: The call.
            signature: Of the body.
            body: Makes it, in the thread.

        Returns:
            What ``send_marshalled`` takes.

        Raises:
            MessageTooLarge: The bus would disconnect us for it.
            ValueError: The body does not match the signature.
        """
        serial = self.next_serial()

        def make() -> bytearray:
            reply = Message.new_method_return(call, signature, list(body()))
            reply.serial = serial
            return marshalled(reply)

        return await asyncio.to_thread(make)

    def send_marshalled(self, content: bytearray) -> None:
        """Queue the bytes of a message."""
        if not self._disconnected:
            self._outgoing.add_marshalled(content)

    def reply_error(self, call: Message, name: str, text: str) -> None:
        """Answer a call with an error, unless its sender wants no reply."""
        if not call.flags & MessageFlag.NO_REPLY_EXPECTED:
            self.send(Message.new_error(call, name, text))

    def _setup_socket(self) -> None:
        if self._connected_socket is None:
            super()._setup_socket()  # type: ignore[no-untyped-call] # dbus-next
            return
        self._sock = self._connected_socket.dup()
        self._sock.setblocking(False)
        self._stream = self._sock.makefile("rwb")
        self._fd = self._sock.fileno()

    async def _authenticate(self) -> None:
        if self._connected_socket is None:
            await super()._authenticate()  # type: ignore[no-untyped-call] # dbus-next

    def _call(
        self, msg: Message, callback: Callable[[Message | None, BaseException | None], None]
    ) -> None:
        if self._disconnected:
            callback(None, EOFError())
        else:
            super()._call(msg, callback)  # type: ignore[no-untyped-call] # dbus-next

    def _message_reader(self) -> None:
        try:
            for _ in range(_MESSAGES_A_TURN):
                message = self._incoming.read()
                if message is None:
                    return
                if isinstance(message, RefusedMessage):
                    self._refuse(message)
                else:
                    self._dispatch(message)
        except (OSError, EOFError) as error:
            self._finalize(error)

    def _dispatch(self, message: Message) -> None:
        if message.message_type is MessageType.METHOD_CALL:
            self.on_call(message)
        elif message.message_type is MessageType.SIGNAL:
            close_received(message.unix_fds)
            self.on_signal(message)
        else:
            handler = self._method_return_handlers.pop(message.reply_serial, None)
            if handler is None:
                close_received(message.unix_fds)
            else:
                handler(message, None)

    def _refuse(self, refused: RefusedMessage) -> None:
        """Answer a call that was not parsed; or fail our own call, if that was the reply to it."""
        header = refused.header
        if header.kind == MessageType.METHOD_CALL.value:
            if not header.flags & MessageFlag.NO_REPLY_EXPECTED:
                self.send(_error(header.sender, header.serial, _REFUSED_CALL, refused.reason))
        elif handler := self._method_return_handlers.pop(header.reply_serial, None):
            own_name = str(self.unique_name)
            error = _error(own_name, header.reply_serial, _REFUSED_REPLY, refused.reason)
            handler(error, None)

    def _finalize(self, err: BaseException | None = None) -> None:
        super()._finalize(err)  # type: ignore[no-untyped-call] # dbus-next
        self._outgoing.close()
        self._incoming.close()
        self._close_socket()

    def _close_socket(self) -> None:
        self._stream.close()
        self._sock.close()


async def caller_uid(connection: Connection, sender: str) -> int:
    """Ask the bus which user a connection belongs to.

    Raises:
        BusError: The connection is gone.
    """
    [uid] = await connection.ask(
        names.BUS_SERVICE,
        names.BUS_PATH,
        names.BUS_SERVICE,
        "GetConnectionUnixUser",
        "s",
        [sender],
    )
    return int(uid)


def _error(destination: str, serial: int, name: str, text: str) -> Message:
    return Message(
        message_type=MessageType.ERROR,
        destination=destination,
        reply_serial=serial,
        error_name=name,
        signature="s",
        body=[text],
    )


def _ignore(_message: Message) -> None:
    pass


def _close(message: Message) -> None:
    close_received(message.unix_fds)
