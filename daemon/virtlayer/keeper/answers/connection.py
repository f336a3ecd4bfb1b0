# SPDX-License-Identifier: LGPL-2.1-or-later
"""One connection of the service, whose requests are answered concurrently.

The other end is ``service.keeper.connection``.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Mapping
from enum import StrEnum

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, VirtlayerError
from virtlayer.keeper.answers import claims, domains, pools, programs, records, staging
from virtlayer.keeper.answers.answer import Answer, Turn
from virtlayer.keeper.answers.holdings import Holdings
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.pools import Pools
from virtlayer.protocol import packets
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.messages import Message
from virtlayer.protocol.packets import REPLY_LIMIT, REQUEST_LIMIT, Malformed, PacketSocket

_log = logging.getLogger(__name__)

_AT_A_TIME = 1024
"""Requests of one connection; further ones wait in its socket. Most wait for a program's end."""
_CHARACTERS_AT_A_TIME = 8 * REQUEST_LIMIT
"""Of all those requests together."""
_LISTS_AT_A_TIME = 8
"""Long answers of one connection, until they are sent; libvirt has 8 threads as well."""
_LISTS = {
    *(Message.FIND_VOLUMES, Message.FIND_FILES, Message.USERS),
    *(Message.LOCK, Message.LIST_RECORDS, Message.READ_RECORDS),
}

ANSWERS: Mapping[StrEnum, Answer] = {
    one.call.message: one
    for one in (
        *pools.ANSWERS,
        *claims.ANSWERS,
        *records.ANSWERS,
        *staging.ANSWERS,
        *programs.ANSWERS,
        *domains.ANSWERS,
    )
}
_WITH_DESCRIPTORS = {message for message, one in ANSWERS.items() if one.takes_descriptors}


class ServiceConnection:
    """Answers what comes over one connection, and cleans up after its end.

    Args:
        connection: The socket; closed by ``close``.
        hypervisor: The connection to libvirt.
        pools: Its pools.
        kinds: The kinds of the pools.
        domains: Its domains.
    """

    def __init__(
        self,
        connection: socket.socket,
        hypervisor: Hypervisor,
        pools: Pools,
        kinds: Kinds,
        domains: Domains,
    ) -> None:
        self.ended = asyncio.Event()
        """Set when the service has closed its end, or broken the protocol."""
        self._hypervisor = hypervisor
        self._pools = pools
        self._kinds = kinds
        self._domains = domains
        self._holdings = Holdings()
        self._tasks: dict[asyncio.Task[None], int] = {}
        """The tasks that answer, with the lengths of their requests in characters."""
        self._characters = 0
        self._lists = asyncio.Semaphore(_LISTS_AT_A_TIME)
        self._is_closing = False
        self._packets = PacketSocket(connection, REQUEST_LIMIT, self._accept, self.ended.set)

    async def close(self) -> None:
        """End everything of the connection: answers, programs, staging directories."""
        self._is_closing = True
        self._packets.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await to_completion(self._holdings.close())

    def _accept(self, message: packets.Message, descriptors: list[int]) -> None:
        turn = Turn(
            self._hypervisor,
            self._pools,
            self._kinds,
            self._domains,
            self._holdings,
            descriptors,
        )
        match message:
            case {"id": int(number), "ask": str(ask), "with": dict(content)}:
                task = asyncio.create_task(self._answer(number, ask, content, turn), name=ask)
                self._tasks[task] = self._packets.length
                self._characters += self._packets.length
                task.add_done_callback(self._answered)
                if self._has_enough():
                    self._packets.pause()
            case _:
                turn.close()
                _log.error("virtlayerd sent a message that is not a request.")
                self._packets.pause()
                self.ended.set()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._characters -= self._tasks.pop(task)
        if not self.ended.is_set() and not self._has_enough():
            self._packets.resume()

    def _has_enough(self) -> bool:
        return len(self._tasks) >= _AT_A_TIME or self._characters >= _CHARACTERS_AT_A_TIME

    async def _answer(self, number: int, ask: str, content: object, turn: Turn) -> None:
        try:
            if ask not in _WITH_DESCRIPTORS:
                # This message needs no descriptors, and its answer may take long.
                await turn.close_received()
            async with self._lists if ask in _LISTS else contextlib.nullcontext():
                reply = await self._reply(ask, content, turn)
                await turn.close_received()
                await self._packets.send({"id": number, **reply}, turn.reply_descriptors)
        except OSError:
            self.ended.set()
        finally:
            turn.close()

    async def _reply(self, ask: str, content: object, turn: Turn) -> packets.Message:
        try:
            return {"done": await self._done(ask, content, turn)}
        except VirtlayerError as error:
            return {"error": error.name, "text": error.message}
        except asyncio.CancelledError:
            if self._is_closing:
                raise
            # Cancelled, because the staging directory of the request was discarded.
            text = f"The staging directory was discarded during {ask}."
            return {"error": Internal.__name__, "text": text}
        except Exception:  # a defect in one answer must not end the others
            _log.exception("The answer to %s failed.", ask)
            text = f"Internal error of virtlayer-keeper in {ask}. See the journal for details."
            return {"error": Internal.__name__, "text": text}

    async def _done(self, ask: str, content: object, turn: Turn) -> object:
        try:
            answer = ANSWERS[Message(ask)]
            request = decode(answer.call.request, content)
        except (ValueError, Malformed) as error:
            _log.error("Refused the request %.40r of virtlayerd: %s.", ask, error)
            raise Internal(
                f"virtlayer-keeper refused the request {ask[:40]!r}: {error}."
            ) from error
        reply = encode(await answer.function(turn, request))
        if len(str(reply)) > REPLY_LIMIT:
            raise Internal(f"The answer to {ask} is too long.")
        return reply
