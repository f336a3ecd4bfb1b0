# SPDX-License-Identifier: LGPL-2.1-or-later
"""All open streams: their number for each user, and one at most with the input of a machine."""

import asyncio
import contextlib
import logging
import socket
from collections import Counter

from virtlayer.errors import Busy, InUse
from virtlayer.protocol.domains import KnownDomain
from virtlayer.service.keeper.domains import Domains
from virtlayer.service.machines.streams.machine_states import MachineStates
from virtlayer.service.machines.streams.sink import PATIENCE
from virtlayer.service.machines.streams.stream import Stream, StreamRequest
from virtlayer.service.machines.streams.terminal import Terminal

_log = logging.getLogger(__name__)

_USERS = 8
"""All users together may have so many times the streams of one."""
_STOP_SECONDS = 2.0


class Streams:
    """The open streams.

    Args:
        domains: The machines.
        limit: Streams of one user.
        exempt: The uids without this limit.
        patience: Seconds that a caller may take nothing.

    Attributes:
        states: The states of the machines that have streams; a listener to the machines.
    """

    def __init__(
        self,
        domains: Domains,
        *,
        limit: int,
        exempt: frozenset[int],
        patience: float = PATIENCE,
    ) -> None:
        self.states = MachineStates(domains)
        self._domains = domains
        self._limit = limit
        self._exempt = exempt
        self._patience = patience
        self._held: Counter[int] = Counter()
        self._with_input: set[str] = set()
        self._running: dict[asyncio.Task[None], Stream] = {}
        self._terminals: set[asyncio.Task[None]] = set()

    @property
    def number(self) -> int:
        """The number of open streams."""
        return self._held.total()

    async def open(self, machine: KnownDomain, request: StreamRequest, uid: int) -> socket.socket:
        """Open a stream, which ends with the machine, or when the caller closes its end.

        Args:
            machine: The machine.
            request: What the caller wants.
            uid: The caller.

        Returns:
            The caller's end.

        Raises:
            Busy: The user has too many streams.
            InUse: Another caller types.
            VirtlayerError: The keeper cannot be asked.
        """
        async with contextlib.AsyncExitStack() as stack:
            self._admit(uid, stack)
            if request.input:
                self._take_input(machine, stack)
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            stack.callback(ours.close)
            with contextlib.ExitStack() as on_failure:
                on_failure.callback(theirs.close)
                state = stack.enter_context(self.states.watched(machine.uuid))
                await self.states.look(machine.uuid, state)
                stream = Stream(self._domains, machine, state, request, ours, self._patience)
                stack.push_async_callback(stream.close)
                await stream.open()
                on_failure.pop_all()
            life = _live(stream, stack.pop_all())
            task = asyncio.create_task(life, name=f"stream of {machine.uuid}")
            self._running[task] = stream
            task.add_done_callback(self._running.pop)
        return theirs

    async def open_terminal(self, machine: KnownDomain, uid: int) -> int:
        """Open a stream with input, and put a pseudoterminal in front of it.

        Args:
            machine: The machine.
            uid: The caller.

        Returns:
            The descriptor of the terminal, for the caller.

        Raises:
            VirtlayerError: See ``open``.
        """
        request = StreamRequest(tail=0, follow=True, input=True)
        terminal = Terminal(await self.open(machine, request, uid))
        task = asyncio.create_task(terminal.run(), name=f"terminal of {machine.uuid}")
        self._terminals.add(task)
        task.add_done_callback(self._terminals.discard)
        return terminal.callers_end

    async def close(self) -> None:
        """End all streams: the service stops."""
        for stream in self._running.values():
            stream.stop("virtlayerd is stopping. Try again.")
        if tasks := {*self._running, *self._terminals}:
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        for task in (left := {*self._running, *self._terminals}):
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _admit(self, uid: int, stack: contextlib.AsyncExitStack) -> None:
        total = self._limit * _USERS
        if uid not in self._exempt and (self._held[uid] >= self._limit or self.number >= total):
            raise Busy(
                f"The limit of {self._limit} open streams of machines for each user, and of "
                f"{total} for all, is reached (quota.streams in virtlayerd.toml). Close some of "
                "them."
            )
        self._held[uid] += 1
        stack.callback(self._release, uid)

    def _release(self, uid: int) -> None:
        self._held -= Counter({uid: 1})  # which removes entries of 0

    def _take_input(self, machine: KnownDomain, stack: contextlib.AsyncExitStack) -> None:
        if machine.uuid in self._with_input:
            raise InUse(
                f'Another program is attached to the input of the machine "{machine.name}". Close '
                "it first."
            )
        self._with_input.add(machine.uuid)
        stack.callback(self._with_input.discard, machine.uuid)


async def _live(stream: Stream, belongings: contextlib.AsyncExitStack) -> None:
    async with belongings:
        try:
            await stream.run()
        except Exception:  # any error: nobody waits for this task
            _log.exception("A stream of a machine had an internal error.")
