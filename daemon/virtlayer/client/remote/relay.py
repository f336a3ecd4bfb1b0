# SPDX-License-Identifier: LGPL-2.1-or-later
"""Passes messages between a socket of the bus's protocol and a channel; the same on both sides."""

import abc
import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Sequence

from virtlayer.cancellation import first_failure
from virtlayer.client.remote.attachments import Attachment, joined, split
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.descriptors import readable, writable
from virtlayer.client.remote.frames import STREAM_LIMIT, Frame, FrameKind, ProtocolError
from virtlayer.client.remote.streams import PIPE_TO_SEND, Stream, Use
from virtlayer.dbus.raw import IncomingMessage, send_start
from virtlayer.dbus.received import close_received
from virtlayer.dbus.structure import (
    CALL_LIMITS,
    FIXED_HEADER,
    Header,
    UnacceptableMessage,
    read_header,
    sizes_of,
)


class Relay(abc.ABC):
    """One side.

    Args:
        channel: To the other side, which has been greeted.
        bus: A non-blocking socket; closed in the end.
        first_stream: The number of the first stream that begins here; the sides alternate.

    Attributes:
        is_over: Whether the connection to the other side has ended. Sockets are closed after that.
    """

    _kinds_out = frozenset({1, 2, 3, 4})
    """Types of messages that are sent to the other side, as the D-Bus Specification numbers them:
    call, reply, error and signal."""

    def __init__(self, channel: Channel, bus: socket.socket, first_stream: int) -> None:
        self._channel = channel
        self._bus = bus
        self._next_stream = first_stream
        self._first_stream = first_stream
        self._streams: dict[int, Stream] = {}
        self._new: list[tuple[int, Stream]] = []
        self._group = asyncio.TaskGroup()
        self.is_over = False

    async def run(self) -> None:
        """Pass everything on, until the connection to the other side ends.

        Raises:
            EOFError: It has ended.
            OSError: It is lost.
            ProtocolError: The other side does not follow the protocol.
        """
        try:
            async with self._group:
                self._group.create_task(self._channel.run())
                self._group.create_task(self._pass_messages_out())
                try:
                    await self._take_frames()
                finally:
                    self.is_over = True
        except BaseExceptionGroup as group:
            raise first_failure(group) from None
        finally:
            for stream in self._streams.values():
                stream.close()
            self._bus.close()
            self._end()

    async def all_delivered(self) -> None:
        """Wait until the other side has delivered what it gets from pipes of this side."""
        for stream in list(self._streams.values()):
            if stream.use is PIPE_TO_SEND:
                await stream.delivered()

    @abc.abstractmethod
    def _attached(self, descriptors: Sequence[int]) -> list[Attachment]:
        """Return what stands for descriptors of a message, which now belong to this."""

    @abc.abstractmethod
    def _received(self, attachments: Sequence[Attachment]) -> list[int]:
        """Return the descriptors for attachments of a message.

        Raises:
            ProtocolError: This side does not accept one of them.
        """

    @abc.abstractmethod
    def _check(self, header: Header, content: bytes, attachments: Sequence[Attachment]) -> None:
        """Check a message for the bus's socket.

        Args:
            header: Its header.
            content: The message.
            attachments: What came with it.

        Raises:
            ProtocolError: It is not accepted.
        """

    @abc.abstractmethod
    async def _bus_has_ended(self) -> None:
        """Handle that nothing more comes from the bus's socket."""

    def _end(self) -> None:  # noqa: B027 -- only one side has to
        """Handle the end of the connection."""

    @abc.abstractmethod
    async def _take_other(self, frame: Frame) -> None:
        """Take a frame that is not about messages and streams.

        Raises:
            ProtocolError: It is not valid now.
        """

    def _start(self, work: Coroutine[object, object, None]) -> None:
        """Start something that ends with the connection at the latest."""
        self._group.create_task(work)

    def _begun(self, descriptor: int, use: Use) -> int:
        """Begin a stream; return its number. It runs when its message has been passed on."""
        number = self._next_stream
        self._next_stream += 2
        self._add(number, descriptor, use)
        return number

    def _check_new(self, number: int) -> None:
        """Check the number of a stream that the other side begins.

        Raises:
            ProtocolError: It is not valid, or there are too many streams.
        """
        if number in self._streams or number % 2 == self._first_stream % 2:
            raise ProtocolError(f"a stream has the number {number} of another one")
        if len(self._streams) >= STREAM_LIMIT:
            raise ProtocolError("there are too many streams")

    def _add(self, number: int, descriptor: int, use: Use) -> None:
        stream = Stream(self._channel, number, descriptor, use)
        self._streams[number] = stream
        self._new.append((number, stream))

    def _start_streams(self) -> None:
        new, self._new = self._new, []
        for number, stream in new:
            self._start(self._run(number, stream))

    async def _run(self, number: int, stream: Stream) -> None:
        await stream.run()
        del self._streams[number]

    async def _pass_messages_out(self) -> None:
        while (message := await self._next_message()) is not None:
            content = bytes(message.content)
            if _header_of(content).kind not in self._kinds_out:
                message.close()
                continue
            attachments = self._attached(message.descriptors)
            await self._channel.send(FrameKind.MESSAGE, content=joined(attachments, content))
            self._start_streams()
        await self._bus_has_ended()

    async def _next_message(self) -> IncomingMessage | None:
        message = IncomingMessage()
        try:
            while True:
                try:
                    message.receive(self._bus)
                except BlockingIOError:
                    await readable(self._bus.fileno())
                else:
                    return message
        except (OSError, EOFError):
            message.close()
            return None
        except asyncio.CancelledError:
            message.close()
            raise

    async def _take_frames(self) -> None:
        while True:
            frame = await self._channel.receive()
            match frame.kind:
                case FrameKind.MESSAGE:
                    await self._pass_message_in(*split(frame.content))
                case FrameKind.DATA | FrameKind.END | FrameKind.CREDIT | FrameKind.DONE:
                    if frame.stream not in self._streams:
                        raise ProtocolError(f"there is no stream {frame.stream}")
                    self._streams[frame.stream].take(frame.kind, frame.content)
                case _:
                    await self._take_other(frame)

    async def _pass_message_in(self, attachments: Sequence[Attachment], content: bytes) -> None:
        self._check(_header_of(content), content, attachments)
        descriptors = self._received(attachments)
        self._start_streams()
        left, given = memoryview(content), descriptors
        try:
            # The end of the socket is noted where it is read.
            with contextlib.suppress(ConnectionError):
                while left:
                    try:
                        left = left[send_start(self._bus, left, given) :]
                        given = []
                    except BlockingIOError:
                        await writable(self._bus.fileno())
        finally:
            close_received(descriptors)


def _header_of(content: bytes) -> Header:
    try:
        if len(content) < FIXED_HEADER or sizes_of(content)[1] != len(content):
            raise ProtocolError("a message has another size than its header says")
        return read_header(content, CALL_LIMITS)
    except UnacceptableMessage as error:
        raise ProtocolError(f"a message is not valid: {error}") from None
