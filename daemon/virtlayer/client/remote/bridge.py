# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer --bridge``: the side of the other host, which ssh starts there.

It has the rights of the user who logged in, and does what the command of that user asks for; but
nothing except what the command needs. So a key whose only command it is (``command=`` of
authorized_keys(5)) allows the use of virtlayer, and of nothing else.
"""

import asyncio
import os
import socket
import stat
import struct
import sys
from collections.abc import Sequence

from virtlayer.client.remote.attachments import Attachment, AttachmentKind
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.frames import GREETING, Frame, FrameKind, ProtocolError
from virtlayer.client.remote.relay import Relay
from virtlayer.client.remote.streams import PIPE_TO_FILL, SOCKET
from virtlayer.dbus import names
from virtlayer.dbus.addresses import bus_address
from virtlayer.dbus.raw import authenticated_socket
from virtlayer.dbus.received import close_received
from virtlayer.dbus.structure import Header, sizes_of

_CALL = 1
"""The message type, as the D-Bus Specification numbers them."""
_QUESTIONS_AT_ONCE = 4
_CALLS_OF_THE_BUS = ("Hello", "AddMatch", "GetConnectionUnixProcessID")
_RULES = frozenset(
    struct.pack(order, len(rule)) + rule.encode() + b"\0"
    for rule in (names.PROGRESS_RULE, names.DOMAIN_RULE, names.OWNER_RULE)
    for order in ("<I", ">I")
)
"""The body of calls of AddMatch, in both byte orders."""
_INTERFACES = (names.MANAGER, names.JOB, names.IMAGE, names.PROPERTIES)


def serve(*, session: bool) -> int:
    """Serve a command on another host.

    Args:
        session: Whether to connect to the session bus of the user instead of the system bus.

    Returns:
        The exit status.
    """
    if sys.stdin.isatty():
        print("virtlayer: --bridge is for --host, which starts it by ssh.", file=sys.stderr)
        return 2
    # What a module prints by mistake is not a frame.
    writing = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(0, False)
    os.set_blocking(writing, False)
    try:
        asyncio.run(_serve(Channel(0, writing), session=session))
    except (OSError, EOFError, KeyboardInterrupt):
        # The command has ended, or the connection to it.
        return 0
    except ProtocolError as error:
        print(f"virtlayer: The bridge got invalid data: {error}.", file=sys.stderr)
        return 1
    return 0


async def _serve(channel: Channel, *, session: bool) -> None:
    await channel.greet()
    greeting = await channel.greeted()
    if not greeting:
        raise EOFError
    if greeting != GREETING:
        raise ProtocolError("the greeting of the command is that of another version")
    try:
        bus = authenticated_socket(bus_address(session=session))
    except ConnectionError as error:
        await channel.send_now(FrameKind.NO_BUS, str(error).encode())
        return
    await channel.send_now(FrameKind.READY)
    await BridgeRelay(channel, bus, session=session).run()


class BridgeRelay(Relay):
    """The side that is the caller on the bus. It takes no calls.

    Args:
        channel: To the command.
        bus: A non-blocking socket to the bus; closed in the end.
        session: Whether it is the session bus.
    """

    _kinds_out = frozenset({2, 3, 4})

    def __init__(self, channel: Channel, bus: socket.socket, *, session: bool = False) -> None:
        super().__init__(channel, bus, first_stream=2)
        self._session = session
        self._answering = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

    def _attached(self, descriptors: Sequence[int]) -> list[Attachment]:
        found = []
        for descriptor in descriptors:
            if _is_stream_socket(descriptor):
                number = self._begun(descriptor, SOCKET)
                found.append(Attachment(AttachmentKind.SOCKET, number))
            else:
                # The command has no use for others.
                close_received([descriptor])
        return found

    def _received(self, attachments: Sequence[Attachment]) -> list[int]:
        descriptors: list[int] = []
        try:
            for one in attachments:
                match one.kind:
                    case AttachmentKind.FILE:
                        descriptors.append(_file_of(one.content))
                    case AttachmentKind.PIPE:
                        self._check_new(one.stream)
                        reading, writing = os.pipe()
                        descriptors.append(reading)
                        self._add(one.stream, writing, PIPE_TO_FILL)
                    case _:
                        raise ProtocolError("a call has an attachment of another kind")
        except BaseException:
            close_received(descriptors)
            raise
        return descriptors

    def _check(self, header: Header, content: bytes, _attachments: Sequence[Attachment]) -> None:
        if header.kind != _CALL or not (
            _is_for_virtlayer(header) or _is_for_the_bus(header, content)
        ):
            raise ProtocolError(
                f"{header.interface}.{header.member} of {header.path} at {header.destination} is "
                "not a call of virtlayer"
            )

    async def _bus_has_ended(self) -> None:
        await self._channel.send(FrameKind.NO_BUS, content=b"The bus closed the connection.")

    async def _take_other(self, frame: Frame) -> None:
        if frame.kind is not FrameKind.QUESTION:
            raise ProtocolError(f"a frame {frame.kind.name} is for the other side")
        await self._answering.acquire()
        self._start(self._answer(frame))

    async def _answer(self, question: Frame) -> None:
        # Most commands ask nothing.
        from virtlayer.client.remote.answers import answer

        try:
            content = await answer(question.content, session=self._session)
        finally:
            self._answering.release()
        await self._channel.send(FrameKind.ANSWER, question.stream, content)


def _is_for_virtlayer(header: Header) -> bool:
    # By a unique name, a command calls the service that has its job. No other service has such
    # objects; but by their names, the bus would start others.
    is_service = header.destination == names.SERVICE or header.destination.startswith(":")
    is_object = header.path == names.ROOT or header.path.startswith(f"{names.ROOT}/")
    return is_service and is_object and header.interface in _INTERFACES


def _is_for_the_bus(header: Header, content: bytes) -> bool:
    if (header.destination, header.interface) != (names.BUS_SERVICE, names.BUS_SERVICE):
        return False
    # By other rules, it would get signals of other services, and with "eavesdrop" on a session bus
    # every message.
    return header.member in _CALLS_OF_THE_BUS and (
        header.member != "AddMatch" or content[sizes_of(content)[0] :] in _RULES
    )


def _is_stream_socket(descriptor: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM


def _file_of(content: bytes) -> int:
    descriptor = os.memfd_create("virtlayer", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
