# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connections to the keeper; the other end is ``keeper.answers.connection``.

A connection is opened when the first job needs it, and again after the keeper has ended. Staging
directories and programs end with the connection that they belong to.
"""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from virtlayer.errors import Internal, PoolUnavailable, VirtlayerError
from virtlayer.protocol import packets
from virtlayer.protocol.calls import Call
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.packets import REPLY_LIMIT, Malformed, PacketSocket

type Connect = Callable[[], AbstractAsyncContextManager[socket.socket]]
"""Connects to a keeper; when the context ends, a keeper that was started for it has ended."""

_ERRORS: Mapping[str, type[VirtlayerError]] = {
    kind.__name__: kind for kind in (*VirtlayerError.__subclasses__(), PoolLocked)
}


class KeeperConnection:
    """One connection to a keeper; replies may come in any order."""

    def __init__(self, connection: socket.socket) -> None:
        self._packets = PacketSocket(connection, REPLY_LIMIT, self._accept, self._end)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[packets.Message, list[int]]]] = {}
        self.ended = False
        """Whether the keeper has closed its end."""

    async def ask[Q, R](self, call: Call[Q, R], request: Q) -> R:
        """Send a request without descriptors.

        Raises:
            VirtlayerError: What the keeper answers instead.
            PoolUnavailable: The keeper has ended.
        """
        reply, descriptors = await self.ask_with(call, request, ())
        _close(descriptors)
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
            raise _ended()
        self._waiting[number] = arriving
        message = {"id": number, "ask": call.message, "with": encode(request)}
        try:
            await self._packets.send(message, descriptors)
        except BaseException as error:
            # If the keeper has ended meanwhile, the future is no longer there, and has an error.
            if self._waiting.pop(number, None) is None:
                arriving.exception()
            if not isinstance(error, OSError):
                raise
            self._end()
            raise _ended() from error
        reply, received = await arriving
        try:
            return _value(call, reply), received
        except BaseException:
            _close(received)
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
        _close(descriptors)

    def _end(self) -> None:
        self.ended = True
        for arriving in self._waiting.values():
            if not arriving.done():
                arriving.set_exception(_ended())
        self._waiting.clear()


class KeeperLink:
    """The link to the keeper: the open connection, or a new one.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._current: KeeperConnection | None = None
        self._life = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def connection(self) -> KeeperConnection:
        """Return the connection; open it if there is none.

        Raises:
            PoolUnavailable: The keeper cannot be reached.
        """
        async with self._opening:
            if self._current is None or self._current.ended:
                await self.close()
                connected = await self._life.enter_async_context(self._connect())
                self._current = KeeperConnection(connected)
                self._life.callback(self._current.close)
            return self._current

    async def ask[Q, R](self, call: Call[Q, R], request: Q) -> R:
        """Send a request on the connection; see ``KeeperConnection.ask``."""
        connection = await self.connection()
        try:
            return await connection.ask(call, request)
        except PoolUnavailable as error:
            if not isinstance(error.__cause__, OSError):
                raise
        # The keeper had ended before, so the request was not sent.
        connection = await self.connection()
        return await connection.ask(call, request)

    async def close(self) -> None:
        """Close the connection; a keeper that was started for it ends."""
        await self._life.aclose()
        self._current = None


def _value[Q, R](call: Call[Q, R], reply: packets.Message) -> R:
    try:
        match reply:
            case {"done": content}:
                return decode(call.reply, content)
            case {"error": str(name), "text": str(text)}:
                raise _ERRORS.get(name, Internal)(text)
    except Malformed as error:
        raise Internal(f"Invalid reply of virtlayer-keeper to {call.message}: {error}.") from error
    raise Internal(f"Invalid reply of virtlayer-keeper to {call.message}.")


def keeper_error(name: str, text: str) -> VirtlayerError:
    """Return the error that the keeper has reported."""
    return _ERRORS.get(name, Internal)(text)


def _ended() -> PoolUnavailable:
    return PoolUnavailable(
        "virtlayer-keeper stopped during the job. Try again; finished layers are kept. See the "
        "journal for the cause."
    )


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
