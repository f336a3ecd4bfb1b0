# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asks the process at the other end of a connection, where ``answering`` answers."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence

from virtlayer.errors import Internal, VirtlayerError
from virtlayer.protocol import packets
from virtlayer.protocol.calls import Call
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.packets import (
    REPLY_LIMIT,
    Malformed,
    PacketSocket,
    close_in_thread,
)

_ERRORS: Mapping[str, type[VirtlayerError]] = {
    kind.__name__: kind for kind in (*VirtlayerError.__subclasses__(), PoolLocked)
}


class Connection:
    """One connection; replies may come in any order.

    Args:
        connection: The socket; closed by ``close``.
        name: The other process, as errors name it.
        ended: Returns the error for requests after its end.
    """

    def __init__(
        self, connection: socket.socket, name: str, ended: Callable[[], VirtlayerError]
    ) -> None:
        self._name = name
        self._error = ended
        self._packets = PacketSocket(connection, REPLY_LIMIT, self._accept, self._end)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[packets.Message, list[int]]]] = {}
        self.ended = False
        """Whether the other process has closed its end."""

    async def ask[Q, R](self, call: Call[Q, R], request: Q, descriptors: Sequence[int] = ()) -> R:
        """Send a request whose reply has no descriptors; see ``ask_with``.

        Raises:
            VirtlayerError: What the other process answers instead, or that it has ended.
        """
        reply, received = await self.ask_with(call, request, descriptors)
        close_in_thread(received)
        return reply

    async def ask_with[Q, R](
        self, call: Call[Q, R], request: Q, descriptors: Sequence[int]
    ) -> tuple[R, list[int]]:
        """Send a request.

        Args:
            call: The message.
            request: The arguments of the message.
            descriptors: The descriptors of the request; the caller closes them.

        Returns:
            The reply, and the descriptors that came with it; the caller closes them.

        Raises:
            VirtlayerError: See ``ask``.
        """
        number = next(self._numbers)
        arriving = asyncio.get_running_loop().create_future()
        if self.ended:
            raise self._error()
        self._waiting[number] = arriving
        message = {"id": number, "ask": call.message, "with": encode(request)}
        try:
            await self._packets.send(message, descriptors)
        except BaseException as error:
            # If the other process has ended meanwhile, the future is no longer there, and has an
            # error.
            if self._waiting.pop(number, None) is None:
                arriving.exception()
            if not isinstance(error, OSError):
                raise
            self._end()
            raise self._error() from error
        reply, received = await arriving
        try:
            return self._value(call, reply), received
        except BaseException:
            close_in_thread(received)
            raise

    def close(self) -> None:
        """Close it; pending requests get an error."""
        self._packets.close()
        self._end()

    def _accept(self, message: packets.Message, descriptors: list[int]) -> None:
        match message:
            case {"id": int(number)} if number in self._waiting:
                arriving = self._waiting.pop(number)
                if not arriving.done():
                    arriving.set_result((message, descriptors))
                    return
        # The requesting task was cancelled.
        close_in_thread(descriptors)

    def _end(self) -> None:
        self.ended = True
        for arriving in self._waiting.values():
            if not arriving.done():
                arriving.set_exception(self._error())
        self._waiting.clear()

    def _value[Q, R](self, call: Call[Q, R], reply: packets.Message) -> R:
        try:
            match reply:
                case {"done": content}:
                    return decode(call.reply, content)
                case {"error": str(name), "text": str(text)}:
                    raise sent_error(name, text)
        except Malformed as error:
            raise Internal(f"Invalid reply of {self._name} to {call.message}: {error}.") from error
        raise Internal(f"Invalid reply of {self._name} to {call.message}.")


def sent_error(name: str, text: str) -> VirtlayerError:
    """Return the error that another process has reported."""
    return _ERRORS.get(name, Internal)(text)
