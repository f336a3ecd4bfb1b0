# SPDX-License-Identifier: LGPL-2.1-or-later
"""Both sides of a connection to another host, without ssh, and sides that break the protocol."""

import array
import asyncio
import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from dbus_next.constants import MessageType
from dbus_next.message import Message

from tests.support.leftovers import nothing_left
from tests.support.waiting import PATIENCE
from virtlayer.cancellation import meanwhile
from virtlayer.client.architectures import host_architecture
from virtlayer.client.remote.attachments import Attachment, AttachmentKind, joined
from virtlayer.client.remote.bridge import BridgeRelay
from virtlayer.client.remote.channel import Channel
from virtlayer.client.remote.command import CommandRelay
from virtlayer.client.remote.frames import CHUNK, HEADER, FrameKind, ProtocolError
from virtlayer.client.remote.host import OtherHost
from virtlayer.client.remote.streams import PIPE_TO_SEND, SOCKET
from virtlayer.dbus import names
from virtlayer.errors import HostUnavailable
from virtlayer.sizes import MIB

BUS = {"destination": names.BUS_SERVICE, "interface": names.BUS_SERVICE}
CREDIT = struct.Struct(">I")


def call(
    member: str = "Pull",
    *,
    destination: str = "org.virtlayer1",
    path: str = "/org/virtlayer1",
    interface: str = "org.virtlayer1.Manager",
    text: str | None = None,
) -> bytes:
    """A call of the command; a text is its argument."""
    signature, body = ("", []) if text is None else ("s", [text])
    return marshalled(
        Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
        )
    )


def reply() -> bytes:
    return marshalled(
        Message(message_type=MessageType.METHOD_RETURN, destination=":1.1", reply_serial=7)
    )


def signal() -> bytes:
    return marshalled(
        Message(
            message_type=MessageType.SIGNAL, path=names.ROOT, interface=names.JOB, member="Finished"
        )
    )


def marshalled(message: Message) -> bytes:
    message.serial = 7
    return bytes(message._marshall(negotiate_unix_fd=True))


class End:
    """An end of a socket with messages: the command's, or that of a bus."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)

    async def send(self, content: bytes, descriptors: Sequence[int] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        await asyncio.to_thread(self.socket.sendmsg, [content], rights)

    async def receive(self) -> tuple[bytes, list[int]]:
        content, descriptors, _flags, _address = await asyncio.to_thread(
            socket.recv_fds, self.socket, 65536, 16
        )
        return content, list(descriptors)


@dataclass(frozen=True)
class Sides:
    """A command and a bus, with a connection between them."""

    command: End
    bus: End
    relay: CommandRelay

    async def passed(self, content: bytes, descriptors: Sequence[int]) -> list[int]:
        """Pass a call on; return the descriptors with which it arrives."""
        await self.command.send(content, descriptors)
        arrived, received = await self.bus.receive()
        assert arrived == content
        return received


@pytest.fixture
async def sides() -> AsyncIterator[Sides]:
    with nothing_left(), contextlib.ExitStack() as stack:
        pairs = [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(3)]
        (command, here), (bus, there), (left, right) = pairs
        for one in (here, there, left, right):
            one.setblocking(False)
        relay = CommandRelay(Channel(left.fileno(), left.fileno()), here)
        bridge = BridgeRelay(Channel(right.fileno(), right.fileno()), there)
        async with meanwhile(relay.run()), meanwhile(bridge.run()):
            yield Sides(End(command), End(bus), relay)


@dataclass
class Source:
    """A pipe into which a thread writes, until nobody reads it."""

    reading: int
    written: int = 0


@contextlib.asynccontextmanager
async def written_pipe(size: int) -> AsyncIterator[Source]:
    reading, writing = os.pipe()
    source = Source(reading)

    def write() -> None:
        with (
            contextlib.suppress(BrokenPipeError),
            os.fdopen(writing, "wb", buffering=0) as file,
        ):
            while source.written < size:
                source.written += file.write(bytes(min(CHUNK, size - source.written)))

    thread = threading.Thread(target=write)
    thread.start()
    yield source
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()


def content_of(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def test_files_arrive_as_a_whole_with_their_call(sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret" * 1000)
    with (tmp_path / "secret").open("rb") as file:
        [received] = await sides.passed(call(), [file.fileno()])
    assert os.fstat(received).st_size == 6000
    assert content_of(received) == b"secret" * 1000


async def test_large_files_arrive_as_pipes(sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"large" * MIB)
    with (tmp_path / "large").open("rb") as file:
        [received] = await sides.passed(call(), [file.fileno()])
        assert await asyncio.to_thread(content_of, received) == b"large" * MIB


async def test_messages_pass_a_pipe_that_nobody_reads(sides: Sides) -> None:
    async with written_pipe(20 * MIB) as source:
        [received] = await sides.passed(call(), [source.reading])
        os.close(source.reading)
        for _ in range(200):
            assert await sides.passed(call("ListJobs"), []) == []
        await sides.bus.send(reply())
        assert (await sides.command.receive())[0] == reply()
        # A window is on the way; the pipes and sockets of the kernel have some more.
        assert source.written < 4 * MIB
        assert len(await asyncio.to_thread(content_of, received)) == 20 * MIB
        await asyncio.wait_for(sides.relay.all_delivered(), PATIENCE)


async def test_source_is_no_longer_read_when_the_service_wants_no_more(sides: Sides) -> None:
    async with written_pipe(20 * MIB) as source:
        [received] = await sides.passed(call(), [source.reading])
        os.close(source.reading)
        await asyncio.to_thread(os.read, received, 10)
        os.close(received)
        await asyncio.wait_for(sides.relay.all_delivered(), PATIENCE)
    assert source.written < 20 * MIB


@pytest.fixture
async def stream(sides: Sides) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """The ends of a stream of a machine: the command's, and the service's."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            await sides.bus.send(reply(), [theirs.fileno()])
        _content, [received] = await sides.command.receive()
        with socket.socket(fileno=received) as here:
            for one in (here, ours):
                one.setblocking(False)
            yield here, ours


async def receive_all(connection: socket.socket) -> bytes:
    loop, content = asyncio.get_running_loop(), b""
    async with asyncio.timeout(PATIENCE):
        while chunk := await loop.sock_recv(connection, MIB):
            content += chunk
    return content


async def test_stream_of_a_machine_has_both_directions(
    stream: tuple[socket.socket, socket.socket],
) -> None:
    here, there = stream
    loop = asyncio.get_running_loop()
    content = os.urandom(3 * MIB)
    for sender, receiver in ((here, there), (there, here)):
        async with meanwhile(receive_all(receiver)) as receiving:
            await loop.sock_sendall(sender, content)
            # The other direction stays open.
            sender.shutdown(socket.SHUT_WR)
            assert await receiving == content


@pytest.mark.parametrize("closing", ["command", "service"])
async def test_end_of_one_side_ends_the_other(
    stream: tuple[socket.socket, socket.socket], closing: str
) -> None:
    closed, other = stream if closing == "command" else stream[::-1]
    closed.close()
    assert await receive_all(other) == b""
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_forever(other), PATIENCE)


async def send_forever(connection: socket.socket) -> NoReturn:
    while True:
        await asyncio.get_running_loop().sock_sendall(connection, bytes(1000))


@pytest.mark.parametrize(
    "other",
    [
        {
            "destination": "org.freedesktop.systemd1",
            "interface": "org.freedesktop.systemd1.Manager",
        },
        {"path": "/org/virtlayer10"},
        # The bus would start it.
        {"destination": "org.freedesktop.hostname1"},
        {"destination": "org.freedesktop.DBus", "interface": "org.freedesktop.DBus.Monitoring"},
        BUS | {"member": "RequestName", "text": "org.virtlayer1"},
        BUS | {"member": "AddMatch", "text": "eavesdrop='true'"},
        BUS | {"member": "AddMatch", "text": ""},
        BUS | {"member": "AddMatch", "text": f"{names.PROGRESS_RULE},eavesdrop='true'"},
        BUS | {"member": "AddMatch", "text": f"x{names.PROGRESS_RULE}"},
        BUS | {"interface": "org.freedesktop.DBus.Monitoring", "member": "Hello"},
    ],
)
async def test_bridge_calls_nothing_but_virtlayer(other: dict[str, str]) -> None:
    frame = joined([], call(**{"member": "BecomeMonitor"} | other))
    with pytest.raises(ProtocolError, match="is not a call of virtlayer"):
        await bridge_that_gets((FrameKind.MESSAGE, 0, frame))


type GivenFrame = tuple[int, int, bytes]


@pytest.mark.parametrize(
    "content",
    [
        call(destination=":1.7", path="/org/virtlayer1/job/1", interface=names.JOB),
        call(**BUS, member="Hello"),
        *(
            call(**BUS, member="AddMatch", text=rule)
            for rule in (names.PROGRESS_RULE, names.DOMAIN_RULE, names.OWNER_RULE)
        ),
    ],
)
async def test_bridge_passes_calls_that_commands_need(sides: Sides, content: bytes) -> None:
    assert await sides.passed(content, []) == []


async def bridge_that_gets(*frames: GivenFrame) -> None:
    with relayed(BridgeRelay, frames) as (relay, _bus):
        await asyncio.wait_for(relay.run(), PATIENCE)


@contextlib.contextmanager
def relayed[R: (BridgeRelay, CommandRelay)](
    kind: type[R], frames: Sequence[GivenFrame]
) -> Iterator[tuple[R, socket.socket]]:
    """One side, whose other side sends these frames and nothing else."""
    with nothing_left(), contextlib.ExitStack() as stack:
        pairs = [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(2)]
        (outer, inner), (left, right) = pairs
        for one in (inner, left):
            one.setblocking(False)
        sent = b"".join(
            HEADER.pack(number, stream, len(content)) + content
            for number, stream, content in frames
        )

        def send() -> None:
            with contextlib.suppress(ConnectionError):
                right.sendall(sent)

        thread = threading.Thread(target=send)
        thread.start()
        stack.callback(thread.join)
        stack.callback(left.close)
        yield kind(Channel(left.fileno(), left.fileno()), inner), outer


def message(*attachments: Attachment, content: bytes = b"") -> GivenFrame:
    return FrameKind.MESSAGE, 0, joined(attachments, content or reply())


SOCKET_2 = message(Attachment(AttachmentKind.SOCKET, 2))


@pytest.mark.parametrize(
    "frames",
    [
        [(0, 0, b"")],
        [(200, 0, b"")],
        [(FrameKind.READY, 0, b"")],
        [(FrameKind.QUESTION, 0, b"{}")],
        [(FrameKind.ANSWER, 0, b"{}")],
        [(FrameKind.DATA, 2, b"x")],
        [(FrameKind.DATA, 2, bytes(CHUNK + 1))],
        [(FrameKind.MESSAGE, 0, b"")],
        [(FrameKind.MESSAGE, 0, b"\xff" * 100)],
        [message(content=b"l")],
        [message(content=reply() + b"x")],
        [message(Attachment(AttachmentKind.FILE, content=b"x"))],
        [message(Attachment(AttachmentKind.PIPE, 2))],
        [message(Attachment(AttachmentKind.SOCKET, 1))],
        [SOCKET_2, SOCKET_2],
        [message(*(Attachment(AttachmentKind.SOCKET, 2 * i) for i in range(17)))],
        [message(*(Attachment(AttachmentKind.SOCKET, 2 * i) for i in range(2)))],
        [message(content=call())],
        [message(Attachment(AttachmentKind.SOCKET, 2), content=signal())],
        [message(Attachment(AttachmentKind.SOCKET, 2 * i)) for i in range(65)],
        [SOCKET_2, (FrameKind.CREDIT, 2, CREDIT.pack(1))],
        [SOCKET_2, (FrameKind.CREDIT, 2, b"")],
        [SOCKET_2, (FrameKind.END, 2, b""), (FrameKind.DATA, 2, b"x")],
        [SOCKET_2, *[(FrameKind.DATA, 2, bytes(CHUNK))] * (SOCKET.window // CHUNK + 16)],
    ],
)
async def test_command_ends_when_the_host_breaks_the_protocol(frames: list[GivenFrame]) -> None:
    with relayed(CommandRelay, frames) as (relay, command):
        with pytest.raises(ProtocolError):
            await asyncio.wait_for(relay.run(), PATIENCE)
        # The command learns of it at once.
        command.settimeout(PATIENCE)
        while command.recv(65536):
            pass


async def test_question_is_answered(sides: Sides) -> None:
    host = OtherHost("there", sides.relay.ask)
    async with asyncio.timeout(PATIENCE):
        assert await host.user_names([0, 4_000_000_000]) == {0: "root"}
        facts = await host.facts([Path("/etc/passwd"), Path("/no/file")])
    assert facts.existing == {Path("/etc/passwd")}
    assert facts.architecture == host_architecture()


@pytest.mark.parametrize(
    "question",
    [
        *(b"", b"[]", b"{}", b'{"about": "x"}', b'{"about": "facts"}', b"[" * 60_000),
        b'{"about": "users", "uids": [Infinity]}',
    ],
)
async def test_unknown_question_ends_the_bridge(question: bytes) -> None:
    with pytest.raises(ProtocolError):
        await bridge_that_gets((FrameKind.QUESTION, 0, question))


@pytest.mark.parametrize("answer", [None, [], {}, {"names": []}, {"names": None}])
async def test_invalid_answer_is_an_error(answer: object) -> None:
    async def ask(_question: object) -> object:
        return answer

    with pytest.raises(HostUnavailable, match="there sent an invalid answer"):
        await OtherHost("there", ask).user_names([0])


async def test_journal_is_printed_by_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"MESSAGE": "a\x85\x9b\u2028b\u202e"}, ensure_ascii=False)

    async def ask(_question: object) -> object:
        return {"text": f"{line}\n{line}\ncut", "status": 0, "is_whole": False}

    for as_json in (True, False):
        assert await OtherHost("there", ask).print_journal(1, None, as_json=as_json) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [one.isprintable() for one in lines] == [True, True]
        if as_json:
            assert [json.loads(one) for one in lines] == [json.loads(line)] * 2


async def test_lost_connection_ends_a_question() -> None:
    with relayed(CommandRelay, []) as (relay, _bus):
        asked = asyncio.create_task(relay.ask({"about": "users", "uids": []}))
        async with meanwhile(relay.run()) as running:
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(EOFError):
                await asyncio.wait_for(asked, PATIENCE)


def test_windows_are_a_few_frames() -> None:
    assert SOCKET.window < PIPE_TO_SEND.window <= 4 * MIB
