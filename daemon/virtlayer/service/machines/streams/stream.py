# SPDX-License-Identifier: LGPL-2.1-or-later
"""One caller's connection with one machine: output to the caller, input to the machine."""

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass

from virtlayer.cancellation import stopped
from virtlayer.errors import DomainFailed, InvalidArgument, Unsupported, VirtlayerError
from virtlayer.protocol.domains import Boot, KnownDomain, Port, State
from virtlayer.protocol.streams import INPUT, TEXT_LIMIT, Record, RecordKind, RecordParser
from virtlayer.service.keeper.domains import Domains
from virtlayer.service.machines.streams.ending import Ending
from virtlayer.service.machines.streams.input_port import ConsolePort, InitPort, InputPort
from virtlayer.service.machines.streams.log_records import LogRecords
from virtlayer.service.machines.streams.machine_states import MachineState
from virtlayer.service.machines.streams.sink import Sink, TooSlow
from virtlayer.service.readiness import readable

_log = logging.getLogger(__name__)

_INPUT_CHUNK = 64 * 1024
_LAST_OUTPUT_SECONDS = 1.0
"""virtlogd writes what a machine has written last a moment after it has ended."""
_END_SECONDS = 5.0
"""libvirt reports the end of a machine a moment after its ports are closed."""
_FAREWELL_SECONDS = 5.0
"""The time for the record of an error, which is sent to a caller that may not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What a caller wants.

    Attributes:
        tail: How many bytes of the output that exists; None for all.
        follow: Whether output that is new is wanted, until the machine ends.
        input: Whether the caller types.
        kernel: Whether the log of the kernel is wanted, instead of the output.
    """

    tail: int | None = None
    follow: bool = False
    input: bool = False
    kernel: bool = False

    def __post_init__(self) -> None:
        if self.input and self.kernel:
            raise InvalidArgument('The option "input" cannot be used with the option "kernel".')
        if self.input and not self.follow:
            raise InvalidArgument('The option "input" requires the option "follow".')


class Stream:
    """A connection; ``run`` serves it.

    Args:
        domains: Opens the machine's files and ports.
        machine: The machine.
        state: Its state, kept up to date.
        request: What the caller wants.
        connection: Our end of the caller's socket; its owner closes it.
        patience: Seconds that the caller may take nothing.

    Raises:
        Unsupported: A container does not have what the caller wants.
    """

    def __init__(
        self,
        domains: Domains,
        machine: KnownDomain,
        state: MachineState,
        request: StreamRequest,
        connection: socket.socket,
        patience: float,
    ) -> None:
        self._state = state
        self._request = request
        self._connection = connection
        self._sink = Sink(connection.fileno(), patience)
        self._ending = Ending(domains, machine)
        self._log = LogRecords(domains, machine.uuid, _output_port(machine, request))
        # What is typed at the console of a container is the input of its program.
        has_port = machine.has_streams and machine.boot is not Boot.CONTAINER
        kind = InitPort if has_port else ConsolePort
        self._port: InputPort = kind(domains, machine.uuid)
        self._stopping: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Open what can be opened now, so that the call fails if it cannot be.

        Raises:
            InUse: Another program has the machine's input open.
            VirtlayerError: The keeper cannot be asked.
        """
        await self._log.open(self._request.tail)
        if self._request.follow:
            await self._ending.open()
        if self._request.input and not self._state.has_ended:
            await self._port.open()

    async def close(self) -> None:
        """Close the machine's files and ports."""
        self._log.close()
        self._ending.close()
        await self._port.close()

    def stop(self, reason: str) -> None:
        """End it early.

        Args:
            reason: A sentence for the caller.
        """
        if not self._stopping.done():
            self._stopping.set_result(_broken(reason))

    async def run(self) -> None:
        """Serve the caller, until the machine ends, or the caller leaves."""
        try:
            last = await self._served()
        except TooSlow:
            _log.info("A reader of the output of a machine took nothing for too long. It was left.")
            return
        except (VirtlayerError, OSError) as error:
            text = error.message if isinstance(error, VirtlayerError) else str(error.strerror)
            last = _broken(text)
        if last is not None:
            with contextlib.suppress(OSError, TooSlow, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._sink.send(last.encoded())

    async def _served(self) -> Record | None:
        """Return the last record; None if the caller wants none, or has left."""
        return await _first(
            self._send_output(), self._take_input(), self._caller_leaves(), self._stopping
        )

    async def _send_output(self) -> Record | None:
        is_live = False
        ended_at: float | None = None
        while True:
            state = self._state.value
            records = await self._log.read()
            if records is not None:
                await self._send(records)
                continue
            if not is_live:
                is_live = True
                await self._send([Record(RecordKind.LIVE)])
            if not self._request.follow:
                return None
            if not self._state.has_ended or self._is_new():
                ended_at = None
            elif ended_at is None:
                ended_at = asyncio.get_running_loop().time()
            if ended_at is None:
                await _first(self._log_changes(), self._state.differs(state))
            elif self._log.has_exited or not await self._changes_until(
                ended_at + _LAST_OUTPUT_SECONDS
            ):
                return await self._ending.record(self._state.value)

    def _is_new(self) -> bool:
        """Whether it was made to be started when the caller is there."""
        return self._state.value is State.STOPPED and not self._log.exists

    async def _log_changes(self) -> None:
        if self._state.has_ended:
            await asyncio.get_running_loop().create_future()
        await self._log.changed()

    async def _changes_until(self, deadline: float) -> bool:
        """Return whether a log of a machine that has ended may have changed before a deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._log.changed()
        except TimeoutError:
            return False
        return True

    async def _send(self, records: Iterable[Record]) -> None:
        try:
            await self._sink.send(b"".join(record.encoded() for record in records))
        except OSError:
            # The caller has left, which is noticed elsewhere.
            await asyncio.get_running_loop().create_future()

    async def _take_input(self) -> None:
        if self._request.input:
            await self._pass_input()
        # The output continues: the caller may have closed its end for writing only.
        await asyncio.get_running_loop().create_future()

    async def _pass_input(self) -> None:
        parser = RecordParser(INPUT)
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(self._connection, _INPUT_CHUNK):
            for record in parser.feed(chunk):
                if record.kind is RecordKind.LOST:
                    raise InvalidArgument("The input has an invalid record.")
                await self._pass(record)

    async def _pass(self, record: Record) -> None:
        while self._state.has_ended:
            # It was not started yet.
            await self._state.differs(self._state.value)
        try:
            await self._port.send(record)
        except (OSError, DomainFailed) as error:
            if not await self._ends_soon():
                raise DomainFailed(
                    "The input of the machine was closed: virtlayer-keeper or libvirt has stopped."
                ) from error

    async def _ends_soon(self) -> bool:
        """Return whether libvirt reports the end of the machine."""
        try:
            async with asyncio.timeout(_END_SECONDS):
                while not self._state.has_ended:
                    await self._state.differs(self._state.value)
        except TimeoutError:
            return False
        return True

    async def _caller_leaves(self) -> None:
        with contextlib.closing(select.epoll()) as both_ends_closed:
            # What is always reported: EPOLLHUP. Not that there is something to read.
            both_ends_closed.register(self._connection.fileno(), 0)
            await readable(both_ends_closed.fileno())


def _output_port(machine: KnownDomain, request: StreamRequest) -> Port:
    if machine.boot is Boot.CONTAINER and request.kernel:
        raise Unsupported(
            f'"{machine.name}" is a container, which has no kernel of its own. The kernel of the '
            'host writes to the journal: see "journalctl --dmesg".'
        )
    if machine.boot is Boot.CONTAINER and not machine.has_streams:
        raise Unsupported(
            f'The container "{machine.name}" runs the init of its image, and its output is not '
            f'kept. Use "virsh --connect lxc:///system console {machine.name}".'
        )
    has_records = machine.has_streams and not request.kernel
    return Port.OUTPUT if has_records else Port.KERNEL_LOG


async def _first(
    *alternatives: Coroutine[object, object, Record | None] | asyncio.Future[Record | None],
) -> Record | None:
    """Return the result of what is done first; cancel the rest."""
    tasks = [asyncio.ensure_future(one) for one in alternatives]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        await stopped(*tasks)


def _broken(text: str) -> Record:
    return Record(RecordKind.BROKEN, text.encode()[:TEXT_LIMIT])
