# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams of a machine: readers that are slow, leave or type, and hostile output."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.machine_ports import LogFile, MachinePorts, machine_ports
from tests.support.waiting import PATIENCE, until
from virtlayer.errors import Busy, InUse, InvalidArgument, Unsupported
from virtlayer.protocol.domains import Boot, Port, State
from virtlayer.protocol.streams import (
    INPUT,
    STREAM,
    Lengths,
    Record,
    RecordKind,
    RecordParser,
)
from virtlayer.service.machines.streams.sink import PATIENCE as READER_PATIENCE
from virtlayer.service.machines.streams.stream import StreamRequest
from virtlayer.service.machines.streams.streams import Streams

UID = 1000
LIVE = Record(RecordKind.LIVE)
LOST = Record(RecordKind.LOST)
STARTED = Record(RecordKind.STARTED)
STOPPED = Record(RecordKind.ENDED, b"stopped")
CRASHED = Record(RecordKind.ENDED, b"crashed")
SEVEN = Record(RecordKind.EXIT, b"\7")
FOLLOW = StreamRequest(follow=True)
TYPE = StreamRequest(follow=True, input=True)


def out(text: bytes) -> Record:
    return Record(RecordKind.STDOUT, text)


class Reader:
    """A caller."""

    def __init__(self, connection: socket.socket, accepted: Lengths = STREAM) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._parser = RecordParser(accepted)
        self._received: list[Record] = []
        self._loop = asyncio.get_running_loop()

    async def next(self, number: int = 1) -> list[Record]:
        """Return the next records."""
        async with asyncio.timeout(PATIENCE):
            while len(self._received) < number:
                chunk = await self._loop.sock_recv(self.socket, 65536)
                assert chunk, f"the stream has ended after {self._received}"
                self._received += self._parser.feed(chunk)
        found, self._received = self._received[:number], self._received[number:]
        return found

    async def rest(self) -> list[Record]:
        """Return all records until the end."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                return await self._rest()
        return self._received

    async def _rest(self) -> list[Record]:
        while chunk := await self._loop.sock_recv(self.socket, 65536):
            self._received += self._parser.feed(chunk)
        found, self._received = self._received, []
        return found

    async def send(self, *records: Record) -> None:
        await self._loop.sock_sendall(self.socket, b"".join(map(Record.encoded, records)))


class Host:
    """A service with one machine."""

    def __init__(self, ports: MachinePorts, patience: float) -> None:
        self.ports = ports
        self.streams = Streams(
            ports,  # type: ignore[arg-type] # a stand-in for the keeper
            limit=3,
            exempt=frozenset({0}),
            patience=patience,
        )
        self._stack = contextlib.ExitStack()

    async def open(self, request: StreamRequest, uid: int = UID) -> Reader:
        end = await self.streams.open(self.ports.machine, request, uid)
        return Reader(self._stack.enter_context(end))

    def write(self, *records: Record, port: Port = Port.OUTPUT) -> None:
        self.ports.log(port).write(b"".join(map(Record.encoded, records)))

    def change(self, state: State | None) -> None:
        self.ports.state = state
        self.streams.states.machine_changed(self.ports.machine, state)

    async def line(self, port: Port) -> Reader:
        """Return the machine's end of a port, when it is opened."""
        await until(lambda: port in self.ports.far_ends)
        return Reader(self.ports.far_ends[port], INPUT)

    async def is_idle(self) -> None:
        """Wait until all streams have ended."""
        await until(lambda: not self.streams.number)

    async def close(self) -> None:
        await self.streams.close()
        assert self.streams.number == 0
        self._stack.close()
        self.ports.close()


@contextlib.asynccontextmanager
async def host_of(ports: MachinePorts, *, patience: float = READER_PATIENCE) -> AsyncIterator[Host]:
    before = open_descriptors()
    host = Host(ports, patience)
    try:
        yield host
    finally:
        await host.close()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a short time for what does not come."""
    monkeypatch.setattr("virtlayer.service.machines.streams.stream._LAST_OUTPUT_SECONDS", 0.2)
    monkeypatch.setattr("virtlayer.service.machines.streams.input_port._OPEN_SECONDS", 0.1)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A running machine with our init, whose log is empty."""
    ports = machine_ports(tmp_path)
    ports.log(Port.OUTPUT).write(b"")
    async with host_of(ports) as host:
        yield host


@pytest.fixture
async def own_init(tmp_path: Path) -> AsyncIterator[Host]:
    """A running machine whose image has its own init."""
    ports = machine_ports(tmp_path, has_streams=False)
    ports.log(Port.KERNEL_LOG).write(b"booting\n")
    async with host_of(ports) as host:
        yield host


async def test_existing_output_is_sent_once(host: Host) -> None:
    host.write(STARTED, out(b"hello"))
    reader = await host.open(StreamRequest())
    assert await reader.rest() == [STARTED, out(b"hello"), LIVE]


async def test_tail_begins_with_a_whole_record(host: Host) -> None:
    host.write(out(b"x" * 100), out(b"y"), out(b"z"))
    reader = await host.open(StreamRequest(tail=30))
    assert await reader.rest() == [out(b"y"), out(b"z"), LIVE]


async def test_followed_output_ends_with_the_machine(host: Host) -> None:
    reader = await host.open(FOLLOW)
    assert await reader.next() == [LIVE]
    host.write(STARTED, out(b"a"))
    assert await reader.next(2) == [STARTED, out(b"a")]
    host.write(SEVEN)
    assert await reader.next() == [SEVEN]
    host.change(State.STOPPED)
    assert await reader.rest() == [STOPPED]
    await host.is_idle()


async def test_last_output_is_written_after_the_end(host: Host) -> None:
    reader = await host.open(FOLLOW)
    assert await reader.next() == [LIVE]
    host.change(State.STOPPED)
    await asyncio.sleep(0)
    host.write(out(b"last"), SEVEN)
    assert await reader.rest() == [out(b"last"), SEVEN, STOPPED]


@pytest.mark.parametrize(
    ("state", "log", "expected"),
    [
        (State.CRASHED, b"", CRASHED),
        (State.STOPPED, b"reason=crashed", STOPPED),
        (None, b"", STOPPED),
        (None, b"shutting down, reason=crashed\n... shutting down, reason=shutdown\n", STOPPED),
        (None, b"shutting down, reason=shutdown\n... shutting down, reason=crashed\n", CRASHED),
    ],
)
async def test_crash_is_told_from_a_power_off(
    tmp_path: Path, state: State | None, log: bytes, expected: Record
) -> None:
    ports = machine_ports(tmp_path, has_streams=False, ephemeral=state is None)
    ports.log(Port.KERNEL_LOG).write(b"booting\n")
    ports.log(Port.QEMU_LOG).write(b"starting\n")
    async with host_of(ports) as host:
        reader = await host.open(FOLLOW)
        assert await reader.next(2) == [Record(RecordKind.TERMINAL, b"booting\n"), LIVE]
        ports.log(Port.QEMU_LOG).write(log)
        # The files of an ephemeral machine are removed when it has ended.
        ports.log(Port.QEMU_LOG).path.unlink()
        host.change(state)
        assert await reader.rest() == [expected]


async def test_stopped_machine_is_not_followed(host: Host) -> None:
    host.write(STARTED, SEVEN)
    host.ports.state = State.STOPPED
    reader = await host.open(FOLLOW)
    assert await reader.rest() == [STARTED, SEVEN, LIVE, STOPPED]


async def test_machine_that_was_never_started_is_waited_for(host: Host) -> None:
    host.ports.log(Port.OUTPUT).path.unlink()
    host.ports.state = State.STOPPED
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    await reader.send(Record(RecordKind.STDIN, b"early"))
    host.write(STARTED)
    host.change(State.RUNNING)
    assert await reader.next() == [STARTED]
    assert await (await host.line(Port.INPUT)).next() == [Record(RecordKind.STDIN, b"early")]
    host.write(SEVEN)
    host.change(State.STOPPED)
    assert await reader.rest() == [SEVEN, STOPPED]


async def test_machine_that_is_removed_before_its_start(host: Host) -> None:
    host.ports.log(Port.OUTPUT).path.unlink()
    host.ports.state = State.STOPPED
    reader = await host.open(FOLLOW)
    host.change(None)
    assert await reader.rest() == [LIVE, STOPPED]


async def test_rotated_output_is_whole(host: Host) -> None:
    log = host.ports.log(Port.OUTPUT)
    reader = await host.open(FOLLOW)
    expected = [out(b"%d" % number * 50) for number in range(200)]
    content = b"".join(map(Record.encoded, expected))
    assert await reader.next() == [LIVE]
    received: list[Record] = []
    for start in range(0, len(content), 1001):
        log.write(content[start : start + 1001])
        log.rotate()
        end = min(start + 1001, len(content))
        whole = sum(1 for record in _ends(expected) if record <= end)
        received += await reader.next(whole - len(received))
    assert received == expected


def _ends(records: list[Record]) -> list[int]:
    ends, total = [], 0
    for record in records:
        total += len(record.encoded())
        ends.append(total)
    return ends


async def test_output_that_was_rotated_away_is_reported(host: Host) -> None:
    log = host.ports.log(Port.OUTPUT)
    reader = await host.open(FOLLOW)
    assert await reader.next() == [LIVE]
    host.write(out(b"a"), out(b"b"))
    assert await reader.next(2) == [out(b"a"), out(b"b")]
    for number in range(6):
        log.rotate()
        host.write(out(b"%d" % number), out(b"%d'" % number))
    found = await reader.next()
    while found[-1] != out(b"5'"):
        found += await reader.next()
    assert LOST in found


async def test_hostile_output_is_left_out_and_reported(host: Host) -> None:
    reader = await host.open(FOLLOW)
    forged = [STOPPED, LIVE, LOST, Record(RecordKind.BROKEN, b"lie"), Record(RecordKind.STDIN, b"")]
    host.write(out(b"a"))
    host.ports.log(Port.OUTPUT).write(b"\x1b[2J" * 50_000)
    host.write(*forged)
    host.ports.log(Port.OUTPUT).write(struct.pack("<3sBI", b"\xa5VL", 1, 2**32 - 1))
    host.write(out(b"b"), SEVEN)
    expected = [out(b"a"), LOST, out(b"b"), SEVEN]
    found = await reader.next(5)
    assert [record for record in found if record != LIVE] == expected
    host.change(State.STOPPED)
    assert await reader.rest() == [STOPPED]


async def test_reader_that_leaves_ends_everything(host: Host) -> None:
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    reader.socket.close()
    await host.is_idle()
    # The next one can type.
    assert await (await host.open(TYPE)).next() == [LIVE]


async def test_reader_that_leaves_with_unread_and_unsent_data(host: Host) -> None:
    reader = await host.open(TYPE)
    host.write(*[out(b"x" * 60_000)] * 20)
    # The machine does not read.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                await reader.send(Record(RecordKind.STDIN, b"x" * 60_000))
    reader.socket.close()
    await host.is_idle()


async def test_slow_reader_gets_everything(host: Host) -> None:
    reader = await host.open(FOLLOW)
    expected = [out(bytes([number]) * 60_000) for number in range(50)]
    host.write(*expected)
    received: list[Record] = []
    while len(received) < len(expected):
        received += [record for record in await reader.next() if record != LIVE]
        await asyncio.sleep(0.001)
    assert received == expected


async def test_reader_that_reads_nothing_is_left(tmp_path: Path) -> None:
    async with host_of(machine_ports(tmp_path), patience=0.2) as host:
        host.write(*[out(b"x" * 60_000)] * 20)
        reader = await host.open(FOLLOW)
        await host.is_idle()
        found = await reader.rest()
        assert found
        assert LIVE not in found


async def test_input_reaches_the_machine_in_order(host: Host) -> None:
    reader = await host.open(TYPE)
    line = await host.line(Port.INPUT)
    records = [
        Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 24, 80)),
        Record(RecordKind.STDIN, b"ls\n"),
        Record(RecordKind.SIGNAL, b"\2"),
        Record(RecordKind.END_OF_INPUT),
    ]
    await reader.send(*records)
    assert await line.next(4) == records
    # That is not the end of the output.
    reader.socket.shutdown(socket.SHUT_WR)
    assert await reader.next() == [LIVE]
    host.write(out(b"still there"))
    assert await reader.next() == [out(b"still there")]


@pytest.mark.parametrize(
    "invalid",
    [b"garbage that is not a record", STOPPED.encoded(), SEVEN.encoded()],
    ids=["garbage", "ended", "exit"],
)
async def test_invalid_input_ends_the_stream(host: Host, invalid: bytes) -> None:
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    await asyncio.get_running_loop().sock_sendall(reader.socket, invalid)
    [record] = await reader.rest()
    assert record.kind is RecordKind.BROKEN
    assert b"invalid record" in record.content


async def test_second_reader_with_input_is_refused(host: Host) -> None:
    await host.open(TYPE)
    with pytest.raises(InUse, match='machine "web"'):
        await host.open(TYPE, uid=0)
    assert await (await host.open(FOLLOW)).next() == [LIVE]


async def test_input_that_another_program_has_is_refused(host: Host) -> None:
    host.ports.busy.add(Port.INPUT)
    with pytest.raises(InUse, match="another program"):
        await host.open(TYPE)
    assert host.streams.number == 0


async def test_closed_input_of_a_running_machine_is_an_error(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtlayer.service.machines.streams.stream._END_SECONDS", 0.1)
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    (await host.line(Port.INPUT)).socket.close()
    await reader.send(Record(RecordKind.STDIN, b"x"))
    [record] = await reader.rest()
    assert record.kind is RecordKind.BROKEN
    assert b"input of the machine was closed" in record.content


async def test_input_is_closed_by_the_end_of_the_machine(host: Host) -> None:
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    (await host.line(Port.INPUT)).socket.close()
    await reader.send(Record(RecordKind.STDIN, b"x"))
    host.write(SEVEN)
    host.change(State.STOPPED)
    assert await reader.rest() == [SEVEN, STOPPED]


async def test_streams_of_a_user_are_limited(host: Host) -> None:
    readers = [await host.open(FOLLOW) for _ in range(3)]
    with pytest.raises(Busy, match=r"quota\.streams"):
        await host.open(FOLLOW)
    await host.open(FOLLOW, uid=0)
    await host.open(FOLLOW, uid=UID + 1)
    readers[0].socket.close()
    await until(lambda: host.streams.number <= 4)
    await host.open(FOLLOW)


async def test_stop_of_the_service_is_explained(host: Host) -> None:
    reader = await host.open(TYPE)
    assert await reader.next() == [LIVE]
    await host.streams.close()
    [record] = await reader.rest()
    assert record.kind is RecordKind.BROKEN
    assert b"virtlayerd is stopping" in record.content


async def test_console_is_open_only_while_somebody_types(
    own_init: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtlayer.service.machines.streams.input_port._TYPING_SECONDS", 0.5)
    reader = await own_init.open(TYPE)
    assert await reader.next(2) == [Record(RecordKind.TERMINAL, b"booting\n"), LIVE]
    await reader.send(Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 24, 80)))
    for _ in range(2):
        assert Port.CONSOLE not in own_init.ports.far_ends
        await reader.send(Record(RecordKind.STDIN, b"root\n"))
        line = (await own_init.line(Port.CONSOLE)).socket
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(line, 100) == b"root\n"
        # What is written there comes from the log; the machine must not wait for a reader.
        await loop.sock_sendall(line, b"x" * 1_000_000)
        assert await loop.sock_recv(line, 100) == b""
        own_init.ports.far_ends.pop(Port.CONSOLE).close()
    own_init.write(port=Port.KERNEL_LOG)
    own_init.ports.log(Port.KERNEL_LOG).write(b"login: ")
    assert await reader.next() == [Record(RecordKind.TERMINAL, b"login: ")]


async def test_console_that_another_program_has_is_an_error(own_init: Host) -> None:
    own_init.ports.busy.add(Port.CONSOLE)
    reader = await own_init.open(TYPE)
    await reader.send(Record(RecordKind.STDIN, b"x"))
    record = (await reader.rest())[-1]
    assert record.kind is RecordKind.BROKEN
    assert b"another program" in record.content


async def test_kernel_log_of_a_machine_with_our_init(host: Host) -> None:
    host.write(out(b"output"))
    host.ports.log(Port.KERNEL_LOG).write(b"[    0.0] Linux\n")
    reader = await host.open(StreamRequest(kernel=True))
    assert await reader.rest() == [Record(RecordKind.TERMINAL, b"[    0.0] Linux\n"), LIVE]


async def test_typing_into_a_container_uses_its_console(tmp_path: Path) -> None:
    ports = machine_ports(tmp_path, boot=Boot.CONTAINER)
    ports.log(Port.OUTPUT).write(STARTED.encoded() + out(b"hello").encoded())
    async with host_of(ports) as host:
        reader = await host.open(TYPE)
        assert await reader.next(3) == [STARTED, out(b"hello"), LIVE]
        await reader.send(Record(RecordKind.STDIN, b"ls\n"))
        line = await host.line(Port.CONSOLE)
        assert await asyncio.get_running_loop().sock_recv(line.socket, 100) == b"ls\n"
        with pytest.raises(Unsupported, match="no kernel of its own"):
            await host.open(StreamRequest(kernel=True))


async def test_container_with_its_own_init_has_no_stream(tmp_path: Path) -> None:
    async with host_of(machine_ports(tmp_path, has_streams=False, boot=Boot.CONTAINER)) as host:
        with pytest.raises(Unsupported, match="virsh"):
            await host.open(StreamRequest())


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(InvalidArgument, match='"kernel"'):
        StreamRequest(follow=True, input=True, kernel=True)
    with pytest.raises(InvalidArgument, match='"follow"'):
        StreamRequest(input=True)


async def test_log_that_cannot_be_read_is_an_error(host: Host) -> None:
    reader = await host.open(FOLLOW)
    assert await reader.next() == [LIVE]
    log: LogFile = host.ports.log(Port.OUTPUT)
    log.rename()
    log.path.mkdir()
    [record] = await reader.rest()
    assert record.kind is RecordKind.BROKEN


async def test_terminal_in_front_of_a_machine(host: Host) -> None:
    master = await host.streams.open_terminal(host.ports.machine, UID)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    try:
        line = await host.line(Port.INPUT)
        host.write(Record(RecordKind.TERMINAL, b"a\r\n# "), out(b"b\n"))
        shown = b""
        while not shown.endswith(b"b\r\n"):
            ready = asyncio.Event()
            loop.add_reader(master, ready.set)
            await ready.wait()
            loop.remove_reader(master)
            shown += os.read(master, 1000)
        assert shown == b"a\r\n# b\r\n"
        os.write(master, b"ls\x03\n")
        assert await line.next() == [Record(RecordKind.STDIN, b"ls\x03\n")]
    finally:
        os.close(master)
    await host.is_idle()


async def test_terminal_passes_its_size_on(host: Host) -> None:
    master = await host.streams.open_terminal(host.ports.machine, UID)
    try:
        line = await host.line(Port.INPUT)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        os.write(master, b"x")
        assert await line.next(2) == [
            Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 50, 132)),
            Record(RecordKind.STDIN, b"x"),
        ]
        host.write(SEVEN)
        host.change(State.STOPPED)
        await host.is_idle()
    finally:
        os.close(master)
