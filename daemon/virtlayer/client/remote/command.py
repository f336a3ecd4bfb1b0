# SPDX-License-Identifier: LGPL-2.1-or-later
"""The side of the command. What the other host sends may come from an attacker.

A host gets the content of descriptors that the command passes in its calls, and nothing else of
this one; it can only send messages, and bytes for sockets that are made here.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Mapping, Sequence

from virtlayer.client.remote.attachments import Attachment, AttachmentKind
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.frames import CONTENT_LIMIT, Frame, FrameKind, ProtocolError
from virtlayer.client.remote.relay import Relay
from virtlayer.client.remote.streams import PIPE_TO_SEND, SOCKET
from virtlayer.dbus.received import close_received
from virtlayer.dbus.structure import Header

_REPLY = 2
_FOR_COMMANDS = (_REPLY, 3, 4)
"""Replies, errors and signals: message types, as the D-Bus Specification numbers them."""


class CommandRelay(Relay):
    """The side of the command.

    Args:
        channel: To the bridge, which is ready.
        bus: The other end of the socket that the command uses as its bus.
    """

    def __init__(self, channel: Channel, bus: socket.socket) -> None:
        super().__init__(channel, bus, first_stream=1)
        self._answers: dict[int, asyncio.Future[object]] = {}

    async def ask(self, question: Mapping[str, object]) -> object:
        """Ask the bridge about its host; see ``OtherHost``.

        Raises:
            EOFError: The connection has ended.
        """
        if self.is_over:
            raise EOFError
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._channel.send(FrameKind.QUESTION, number, json.dumps(question).encode())
        return await answer

    def _attached(self, descriptors: Sequence[int]) -> list[Attachment]:
        return [self._attachment(descriptor) for descriptor in descriptors]

    def _attachment(self, descriptor: int) -> Attachment:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size <= CONTENT_LIMIT:
            # It is there as a whole when the call arrives: half a secret is none.
            try:
                content = os.pread(descriptor, CONTENT_LIMIT, 0)
            finally:
                os.close(descriptor)
            return Attachment(AttachmentKind.FILE, content=content)
        return Attachment(AttachmentKind.PIPE, self._begun(descriptor, PIPE_TO_SEND))

    def _received(self, attachments: Sequence[Attachment]) -> list[int]:
        descriptors: list[int] = []
        try:
            for one in attachments:
                if one.kind is not AttachmentKind.SOCKET:
                    raise ProtocolError("a reply has an attachment that is not a socket")
                self._check_new(one.stream)
                ours, theirs = socket.socketpair()
                self._add(one.stream, ours.detach(), SOCKET)
                descriptors.append(theirs.detach())
        except BaseException:
            close_received(descriptors)
            raise
        return descriptors

    def _check(self, header: Header, _content: bytes, attachments: Sequence[Attachment]) -> None:
        # The reader of the connection checks what is in it.
        if header.kind not in _FOR_COMMANDS:
            raise ProtocolError("a call is for the other side")
        if len(attachments) > (header.kind == _REPLY):
            raise ProtocolError("a message has descriptors that no call returns")

    async def _bus_has_ended(self) -> None:
        """Go on: the command has closed its connection, and may still send a source."""

    async def _take_other(self, frame: Frame) -> None:
        if frame.kind is FrameKind.ANSWER:
            self._take_answer(frame)
            return
        if frame.kind is not FrameKind.NO_BUS:
            raise ProtocolError(f"a frame {frame.kind.name} came too late")
        with contextlib.suppress(OSError):
            self._bus.shutdown(socket.SHUT_RDWR)

    def _take_answer(self, frame: Frame) -> None:
        answer = self._answers.get(frame.stream)
        if answer is None or answer.done():
            raise ProtocolError("an answer has no question")
        try:
            answer.set_result(json.loads(frame.content))
        except (ValueError, RecursionError):
            raise ProtocolError("an answer is not JSON") from None

    def _end(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EOFError())
