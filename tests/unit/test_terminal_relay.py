# SPDX-License-Identifier: LGPL-2.1-or-later
"""The user's descriptors and signals while the command is attached to a machine."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE
from virtlayer.cancellation import meanwhile
from virtlayer.client.terminal.ending import Ending
from virtlayer.client.terminal.printer import LocalStreams
from virtlayer.client.terminal.ready import readable
from virtlayer.client.terminal.relay import relay
from virtlayer.errors import InvalidArgument
from virtlayer.protocol.streams import INPUT, Record, RecordKind, RecordParser

STOPPED = Record(RecordKind.ENDED, b"stopped")
SEVEN = Record(RecordKind.EXIT, b"\7")


@dataclass
class Machine:
    """The far side of a stream."""

    socket: socket.socket
    parser: RecordParser = field(default_factory=lambda: RecordParser(INPUT))
    received: list[Record] = field(default_factory=list)

    async def send(self, *records: Record) -> None:
        content = b"".join(record.encoded() for record in records)
        await asyncio.get_running_loop().sock_sendall(self.socket, content)

    async def receive(self, number: int) -> list[Record]:
        """Return the next records."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < number:
                chunk = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                assert chunk, f"the client has left, after {self.received}"
                self.received += self.parser.feed(chunk)
        found, self.received = self.received[:number], self.received[number:]
        return found


@dataclass
class User:
    """A user's three descriptors; the ends that a terminal or shell would have."""

    local: LocalStreams
    typing: int
    output: int
    errors: int


@contextlib.asynccontextmanager
async def attached(
    local: LocalStreams, *, has_terminal: bool = False, has_own_init: bool = False
) -> AsyncIterator[tuple[Machine, asyncio.Task[Ending]]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        work = relay(ours, local, has_terminal=has_terminal, has_own_init=has_own_init)
        async with asyncio.timeout(PATIENCE), meanwhile(work) as relaying:
            yield Machine(theirs), relaying


@pytest.fixture
def user() -> Iterator[User]:
    """A user with three pipes."""
    with contextlib.ExitStack() as opened:
        pipes = [os.pipe() for _ in range(3)]
        for end in (end for pipe in pipes for end in pipe):
            opened.callback(_close, end)
        (stdin, typing), (output, stdout), (errors, stderr) = pipes
        yield User(LocalStreams(stdin=stdin, stdout=stdout, stderr=stderr), typing, output, errors)


@pytest.fixture
def terminal() -> Iterator[User]:
    """A user with a terminal of 50 rows and 132 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    yield User(LocalStreams(stdin=theirs, stdout=theirs, stderr=theirs), ours, ours, ours)
    _close(ours)
    _close(theirs)


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


def is_raw(user: User) -> bool:
    return not termios.tcgetattr(user.local.stdin or 0)[3] & (termios.ECHO | termios.ICANON)


async def type_keys(user: User, keys: bytes) -> None:
    os.set_blocking(user.typing, False)
    while keys:
        try:
            keys = keys[os.write(user.typing, keys) :]
        except BlockingIOError:
            await asyncio.sleep(0)


def written(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 65536)
    return b""


async def test_outputs_are_the_entrypoints_and_so_is_the_exit_status(user: User) -> None:
    async with attached(user.local) as (machine, relaying):
        await machine.send(
            Record(RecordKind.STARTED),
            Record(RecordKind.STDOUT, b"out\xff"),
            Record(RecordKind.STDERR, b"err"),
            Record(RecordKind.LIVE),
            Record(RecordKind.STDOUT, b"put"),
            SEVEN,
            STOPPED,
        )
        assert await relaying == Ending(status=7)
    assert (written(user.output), written(user.errors)) == (b"out\xffput", b"err")


async def test_command_that_cannot_be_started_is_explained(user: User) -> None:
    async with attached(user.local) as (machine, relaying):
        await machine.send(
            Record(RecordKind.FAILED, b"There is no \x1b[31m/bin/nothing."),
            Record(RecordKind.EXIT, b"\x7f"),
            STOPPED,
        )
        assert await relaying == Ending(status=127)
    assert written(user.errors) == b"virtlayer: There is no \\x1b[31m/bin/nothing.\n"


@pytest.mark.parametrize(
    ("last", "has_own_init", "status", "words"),
    [
        ([STOPPED], False, 125, "before its command had an exit status"),
        ([STOPPED], True, 0, ""),
        ([Record(RecordKind.ENDED, b"crashed")], True, 125, "crashed"),
        ([Record(RecordKind.ENDED, b"crashed")], False, 125, "crashed"),
        ([Record(RecordKind.BROKEN, b"Too slow.")], False, 125, "Too slow."),
        ([], False, 125, "ended early"),
        ([], True, 125, "ended early"),
        ([SEVEN], False, 7, ""),
    ],
)
async def test_end_without_an_exit_status(
    user: User, last: Sequence[Record], has_own_init: bool, status: int, words: str
) -> None:
    async with attached(user.local, has_own_init=has_own_init) as (machine, relaying):
        await machine.send(*last)
        machine.socket.shutdown(socket.SHUT_RDWR)
        ending = await relaying
    assert ending.status == status
    assert words in ending.message
    assert bool(words) == bool(ending.message)
    assert written(user.output) == b""


async def test_invalid_output_is_reported_once(user: User) -> None:
    async with attached(user.local) as (machine, relaying):
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await loop.sock_sendall(machine.socket, b"\x1b[2Jgarbage" * 10)
            await machine.send(Record(RecordKind.STDOUT, b"x"), Record(RecordKind.STDOUT, b"y"))
        await machine.send(SEVEN, STOPPED)
        assert (await relaying).status == 7
    assert written(user.output) == b"xyxyxy"
    assert written(user.errors).count(b"Some output is missing") == 1


async def test_piped_input_is_sent_with_its_end(user: User) -> None:
    async with attached(user.local) as (machine, relaying):
        os.write(user.typing, b"first")
        assert await machine.receive(1) == [Record(RecordKind.STDIN, b"first")]
        os.write(user.typing, b"second")
        os.close(user.typing)
        assert await machine.receive(2) == [
            Record(RecordKind.STDIN, b"second"),
            Record(RecordKind.END_OF_INPUT),
        ]
        await machine.send(SEVEN, STOPPED)
        assert (await relaying).status == 7


@pytest.mark.parametrize("size", [0, 100_000])
async def test_input_from_a_file(user: User, tmp_path: Path, size: int) -> None:
    (tmp_path / "input").write_bytes(b"x" * size)
    with (tmp_path / "input").open("rb") as file:
        local = LocalStreams(
            stdin=file.fileno(), stdout=user.local.stdout, stderr=user.local.stderr
        )
        async with attached(local) as (machine, relaying):
            content = b""
            while (record := (await machine.receive(1))[0]).kind is RecordKind.STDIN:
                content += record.content
            assert (content, record) == (b"x" * size, Record(RecordKind.END_OF_INPUT))
            await machine.send(SEVEN, STOPPED)
            assert (await relaying).status == 7


async def test_input_that_cannot_be_read_is_an_error(user: User, tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        local = LocalStreams(stdin=directory, stdout=user.local.stdout, stderr=user.local.stderr)
        async with attached(local) as (_, relaying):
            with pytest.raises(InvalidArgument, match="Standard input cannot be read: Is a dir"):
                await relaying
    finally:
        os.close(directory)


async def test_signals_go_to_the_entrypoint_and_the_third_leaves(user: User) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with attached(user.local) as (machine, relaying):
        os.write(user.typing, b"x")
        await machine.receive(1)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), number)
            assert await machine.receive(1) == [Record(RecordKind.SIGNAL, bytes([number]))]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await relaying == Ending(status=143, is_detached=True)
    assert signal.getsignal(signal.SIGTERM) == before


async def test_first_signal_leaves_an_image_with_its_own_init(user: User) -> None:
    async with attached(user.local, has_own_init=True) as (machine, relaying):
        os.write(user.typing, b"x")
        await machine.receive(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await relaying == Ending(status=143, is_detached=True)


async def test_signals_are_handled_while_the_output_is_not_read(user: User) -> None:
    async with attached(user.local) as (machine, relaying):
        full = Record(RecordKind.STDOUT, b"x" * 60_000)
        async with meanwhile(machine.send(*[full] * 10)):
            await readable(user.output)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                assert (await machine.receive(1))[0].kind is RecordKind.SIGNAL
            os.kill(os.getpid(), signal.SIGINT)
            assert (await relaying).is_detached


async def test_closed_output_ends_the_command(user: User) -> None:
    os.close(user.output)
    async with attached(user.local) as (machine, relaying):
        await machine.send(Record(RecordKind.STDOUT, b"x"))
        with pytest.raises(BrokenPipeError):
            await relaying


async def test_terminal_is_raw_and_has_the_users_size(terminal: User) -> None:
    async with attached(terminal.local, has_terminal=True) as (machine, relaying):
        [size] = await machine.receive(1)
        assert size == Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 50, 132))
        assert is_raw(terminal)
        fcntl.ioctl(terminal.typing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.kill(os.getpid(), signal.SIGWINCH)
        [size] = await machine.receive(1)
        assert size == Record(RecordKind.WINDOW_SIZE, struct.pack("<HH", 24, 80))
        os.write(terminal.typing, b"\x03\x04")
        assert await machine.receive(1) == [Record(RecordKind.STDIN, b"\x03\x04")]
        await machine.send(Record(RecordKind.TERMINAL, b"a\r\nb"), SEVEN, STOPPED)
        assert await relaying == Ending(status=7)
    assert not is_raw(terminal)
    assert written(terminal.output) == b"a\r\nb"


async def test_ctrl_bracket_leaves(terminal: User) -> None:
    async with attached(terminal.local, has_terminal=True) as (machine, relaying):
        await machine.receive(1)
        os.write(terminal.typing, b"ls\x1drm")
        assert await relaying == Ending(status=0, is_detached=True)
        assert await machine.receive(1) == [Record(RecordKind.STDIN, b"ls")]
    assert not is_raw(terminal)


async def test_user_can_leave_a_machine_that_does_not_read(terminal: User) -> None:
    async with attached(terminal.local, has_terminal=True) as (machine, relaying):
        await machine.receive(1)
        for _ in range(1000):
            await type_keys(terminal, b"x" * 2000)
        await type_keys(terminal, b"\x1d")
        assert (await relaying).is_detached
    assert not is_raw(terminal)


async def test_closed_terminal_leaves(terminal: User) -> None:
    async with attached(terminal.local, has_terminal=True) as (machine, relaying):
        await machine.receive(1)
        os.close(terminal.typing)
        assert (await relaying).is_detached


async def test_terminal_is_restored_after_a_cancellation(terminal: User) -> None:
    async with attached(terminal.local, has_terminal=True) as (machine, relaying):
        await machine.receive(1)
        assert is_raw(terminal)
        relaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await relaying
    assert not is_raw(terminal)


async def test_output_to_a_terminal_leaves_it_as_it_is_without_input(terminal: User) -> None:
    local = LocalStreams(stdin=None, stdout=terminal.local.stdout, stderr=terminal.local.stderr)
    async with attached(local, has_terminal=True) as (machine, relaying):
        assert (await machine.receive(1))[0].kind is RecordKind.WINDOW_SIZE
        assert not is_raw(terminal)
        os.kill(os.getpid(), signal.SIGINT)
        assert await machine.receive(1) == [Record(RecordKind.SIGNAL, b"\2")]
        await machine.send(SEVEN, STOPPED)
        assert (await relaying).status == 7
