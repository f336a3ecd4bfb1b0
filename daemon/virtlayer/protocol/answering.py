# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers the requests of one connection concurrently; the other end is ``asking``."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from weakref import WeakValueDictionary

from virtlayer.errors import Internal, VirtlayerError
from virtlayer.protocol import packets
from virtlayer.protocol.calls import Call
from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.packets import (
    REPLY_LIMIT,
    REQUEST_LIMIT,
    Malformed,
    PacketSocket,
    close_in_thread,
)

_log = logging.getLogger(__name__)

_AT_A_TIME = 1024
"""Requests of one connection; further ones wait in its socket. Most wait for a program's end."""
_CHARACTERS_AT_A_TIME = 8 * REQUEST_LIMIT
"""Of all those requests together."""
_LISTS_AT_A_TIME = 8
"""Long answers about one pool, until they are sent; libvirt has 8 threads as well. A pool that does
not answer does not delay those about other pools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request.

    Attributes:
        descriptors: The descriptors that came with the request.
        reply_descriptors: The descriptors that are sent with the reply, and closed after that.
    """

    descriptors: list[int]
    reply_descriptors: list[int] = field(default_factory=list)

    async def close_received(self) -> None:
        """Close the descriptors that came with the request."""
        received = tuple(self.descriptors)
        self.descriptors.clear()
        await close_in_thread(received)

    def close(self) -> None:
        """Close all descriptors; closing those of the request may take longer."""
        close_in_thread(tuple(self.descriptors))
        self.descriptors.clear()
        for descriptor in self.reply_descriptors:
            os.close(descriptor)
        self.reply_descriptors.clear()


@dataclass(frozen=True, slots=True)
class Answer[T: Turn]:
    """A message, and the function that answers it.

    Attributes:
        call: The message.
        function: The function.
        takes_descriptors: Whether it needs the descriptors that came with the request.
    """

    call: Call[Any, Any]
    function: Callable[[T, Any], Awaitable[Any]]
    takes_descriptors: bool


def answer[T: Turn, Q, R](
    call: Call[Q, R],
    function: Callable[[T, Q], Awaitable[R]],
    *,
    takes_descriptors: bool = False,
) -> Answer[T]:
    """Say which function answers a message; its types must be those of the message."""
    return Answer(call, function, takes_descriptors)


@dataclass(frozen=True, slots=True)
class Answers[T: Turn]:
    """All answers of a process.

    Attributes:
        name: The process, as errors name it.
        peer: The process that asks.
        by_message: The answers.
        long: The messages whose answers can be long.
    """

    name: str
    peer: str
    by_message: Mapping[str, Answer[T]]
    long: frozenset[StrEnum]


class Requests[T: Turn]:
    """Answers what comes over one connection.

    Args:
        connection: The socket; closed by ``close``.
        answers: The answers.
        turn: Makes a request, of the descriptors that came with it.
    """

    def __init__(
        self, connection: socket.socket, answers: Answers[T], turn: Callable[[list[int]], T]
    ) -> None:
        self.ended = asyncio.Event()
        """Set when the other process has closed its end, or broken the protocol."""
        self._answers = answers
        self._turn = turn
        self._tasks: dict[asyncio.Task[None], int] = {}
        """The tasks that answer, with the lengths of their requests in characters."""
        self._characters = 0
        self._lists: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """For each pool about which there are such requests."""
        self._is_closing = False
        self._packets = PacketSocket(connection, REQUEST_LIMIT, self._accept, self.ended.set)

    async def close(self) -> None:
        """End all answers, and close the connection."""
        self._is_closing = True
        self._packets.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, message: packets.Message, descriptors: list[int]) -> None:
        turn = self._turn(descriptors)
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
                _log.error("%s sent a message that is not a request.", self._answers.peer)
                self._packets.pause()
                self.ended.set()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._characters -= self._tasks.pop(task)
        if not self.ended.is_set() and not self._has_enough():
            self._packets.resume()

    def _has_enough(self) -> bool:
        return len(self._tasks) >= _AT_A_TIME or self._characters >= _CHARACTERS_AT_A_TIME

    async def _answer(self, number: int, ask: str, content: Mapping[str, object], turn: T) -> None:
        known = self._answers.by_message.get(ask)
        try:
            if known is None or not known.takes_descriptors:
                # This message needs no descriptors, and its answer may take long.
                await turn.close_received()
            async with self._place(ask, content):
                reply = await self._reply(ask, known, content, turn)
                await turn.close_received()
                await self._packets.send({"id": number, **reply}, turn.reply_descriptors)
        except OSError:
            self.ended.set()
        finally:
            turn.close()

    def _place(self, ask: str, content: Mapping[str, object]) -> AbstractAsyncContextManager[None]:
        if ask not in self._answers.long:
            return contextlib.nullcontext()
        pool = str(content.get("pool", ""))
        places = self._lists.get(pool)
        if places is None:
            places = self._lists[pool] = asyncio.Semaphore(_LISTS_AT_A_TIME)
        return places

    async def _reply(
        self, ask: str, known: Answer[T] | None, content: object, turn: T
    ) -> packets.Message:
        try:
            return {"done": await self._done(ask, known, content, turn)}
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
            text = f"Internal error of {self._answers.name} in {ask}. See the journal for details."
            return {"error": Internal.__name__, "text": text}

    async def _done(self, ask: str, known: Answer[T] | None, content: object, turn: T) -> object:
        try:
            if known is None:
                raise Malformed("an unknown message")
            request = decode(known.call.request, content)
        except Malformed as error:
            _log.error("Refused the request %.40r of %s: %s.", ask, self._answers.peer, error)
            raise Internal(
                f"{self._answers.name} refused the request {ask[:40]!r}: {error}."
            ) from error
        reply = encode(await known.function(turn, request))
        if len(str(reply)) > REPLY_LIMIT:
            raise Internal(f"The answer to {ask} is too long.")
        return reply
