# SPDX-License-Identifier: LGPL-2.1-or-later
"""One connection of the service: its requests are read, checked and answered at the same time.

The other end is ``service.keeper.connection``.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, VirtlayerError
from virtlayer.keeper.answers import pools, programs, staging
from virtlayer.keeper.answers.answer import Answer, Turn
from virtlayer.keeper.answers.holdings import Holdings
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.pools import Pools
from virtlayer.protocol import packets
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.messages import Message
from virtlayer.protocol.packets import REPLY_LIMIT, REQUEST_LIMIT, Malformed, PacketSocket

_log = logging.getLogger(__name__)

_AT_A_TIME = 1024
"""Requests of one connection; further ones wait in its socket. Most wait for a program's end."""

ANSWERS: Mapping[Message, Answer] = {
    one.call.message: one for one in (*pools.ANSWERS, *staging.ANSWERS, *programs.ANSWERS)
}


class ServiceConnection:
    """Answers what comes over one connection, and cleans up after its end.

    Args:
        connection: The socket; closed by ``close``.
        hypervisor: The connection to libvirt.
        pools: Its pools.
    """

    def __init__(self, connection: socket.socket, hypervisor: Hypervisor, pools: Pools) -> None:
        self.ended = asyncio.Event()
        """Set when the service has closed its end, or broken the protocol."""
        self._hypervisor = hypervisor
        self._pools = pools
        self._holdings = Holdings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._packets = PacketSocket(connection, REQUEST_LIMIT, self._accept, self.ended.set)

    async def close(self) -> None:
        """End all that the connection has: answers, programs, staging directories."""
        self._packets.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await to_completion(self._holdings.close())

    def _accept(self, message: packets.Message, descriptors: list[int]) -> None:
        turn = Turn(self._hypervisor, self._pools, self._holdings, descriptors)
        match message:
            case {"id": int(number), "ask": str(ask), "with": dict(content)}:
                task = asyncio.create_task(self._answer(number, ask, content, turn), name=ask)
                self._tasks.add(task)
                task.add_done_callback(self._answered)
                if len(self._tasks) >= _AT_A_TIME:
                    self._packets.pause()
            case _:
                turn.close()
                _log.error("The service sent a message that is not a request.")
                self._packets.pause()
                self.ended.set()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self.ended.is_set():
            self._packets.resume()

    async def _answer(self, number: int, ask: str, content: object, turn: Turn) -> None:
        try:
            try:
                reply: packets.Message = {"done": await self._done(ask, content, turn)}
            except VirtlayerError as error:
                reply = {"error": error.name, "text": error.message}
            except Exception:  # a defect that one request meets must not end the others
                _log.exception("The answer to %s failed.", ask)
                text = f"virtlayer-keeper met a defect in {ask}. The journal has the details."
                reply = {"error": Internal.__name__, "text": text}
            try:
                await self._packets.send({"id": number, **reply}, turn.reply_descriptors)
            except OSError:
                self.ended.set()
        finally:
            turn.close()

    async def _done(self, ask: str, content: object, turn: Turn) -> object:
        try:
            answer = ANSWERS[Message(ask)]
            request = decode(answer.call.request, content)
        except (ValueError, Malformed) as error:
            _log.error("The request %.40r of the service was refused: %s.", ask, error)
            raise Internal(
                f"virtlayer-keeper refused the request {ask[:40]!r}: {error}."
            ) from error
        reply = encode(await answer.function(turn, request))
        if len(str(reply)) > REPLY_LIMIT:
            raise Internal(f"The answer to {ask} is too long.")
        return reply
