# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reader on a socket: what it keeps, what it skips, and when it lets others go on."""

import asyncio
import io
import logging
import os
import socket
from collections.abc import Iterator

import pytest
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.message import Message

from tests.bus.raw_messages import RawCall, array_of, text
from virtlayer.dbus import reader as reader_module
from virtlayer.dbus.reader import Reader, RefusedMessage
from virtlayer.dbus.structure import CALL_LIMITS

MIB = 1024**2
CALL = {"destination": "a.b", "path": "/a", "interface": "a.b", "member": "C", "serial": 7}


class Pair:
    """A reader, and the socket that it reads from."""

    def __init__(self) -> None:
        self.sender, self.receiver = socket.socketpair()
        self.sender.setblocking(False)
        self.receiver.setblocking(False)
        self.reader = Reader(self.receiver, CALL_LIMITS)
        self.turns = 0

    async def send(self, content: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sender, content)

    async def next(self) -> Message | RefusedMessage:
        """The next message, read whenever there are bytes, as an event loop does."""
        while True:
            self.turns += 1
            if (message := self.reader.read()) is not None:
                return message
            await asyncio.sleep(0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.reader.close()
    made.sender.close()
    made.receiver.close()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the messages that dbus-next was given."""
    sizes: list[int] = []

    class Counting(Unmarshaller):
        def __init__(self, stream: io.BytesIO) -> None:
            sizes.append(len(stream.getvalue()))
            super().__init__(stream)  # type: ignore[no-untyped-call] # dbus-next

    monkeypatch.setattr(reader_module, "Unmarshaller", Counting)
    return sizes


def call(signature: str, body: bytes, order: str = "<") -> bytes:
    return bytes(RawCall(**CALL, signature=signature, body=body, order=order))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signature", "body", "reason"),
    [
        ("s", text("x" * 32 * MIB), "the limit is 1 MiB"),
        ("av", array_of(b"\1y\0x" * 200_000), "more than 8192 values"),
        ("s", text("x")[:-1], "a value goes beyond the end of the message"),
        ("u", b"\0\0\0\0\0\0\0\0", "its body is longer than its signature"),
    ],
)
async def test_dbus_next_parses_nothing_of_a_refused_message(
    pair: Pair, parsed: list[int], signature: str, body: bytes, reason: str
) -> None:
    sending = asyncio.create_task(pair.send(call(signature, body) + call("s", text("next"))))
    refused = await pair.next()
    assert isinstance(refused, RefusedMessage)
    assert (refused.header.serial, refused.header.signature) == (7, signature)
    assert reason in refused.reason
    assert parsed == []
    following = await pair.next()
    assert isinstance(following, Message)
    assert following.body == ["next"]
    await sending


def test_a_fast_sender_of_an_oversized_message_lets_others_go_on() -> None:
    """All of it is there at once: the reader still returns after every few MiB."""
    content = call("s", text("x" * 32 * MIB))

    class Endless:
        """A socket that always has more."""

        position = 0

        def recvmsg(self, size: int, *_: int) -> tuple[bytes, list[object], int, None]:
            data = content[self.position : self.position + size]
            self.position += len(data)
            return data, [], 0, None

    reader = Reader(Endless(), CALL_LIMITS)  # type: ignore[arg-type]
    turns = 0
    while reader.read() is None:
        turns += 1
    assert turns >= 32 // 4 - 1


@pytest.mark.parametrize("order", ["<", ">"])
async def test_both_byte_orders_are_read(pair: Pair, order: str) -> None:
    await pair.send(call("s", text("x" * 1000, order), order))
    message = await pair.next()
    assert isinstance(message, Message)
    assert message.body == ["x" * 1000]
    await pair.send(call("as", array_of((text("", order) + b"\0" * 3) * 9000, order)[:-3], order))
    assert isinstance(await pair.next(), RefusedMessage)


@pytest.mark.parametrize("size", [1, 15, 16, 40, 5 * MIB])
async def test_an_end_in_the_middle_closes_the_descriptors(pair: Pair, size: int) -> None:
    reading, writing = os.pipe()
    content = call("s", text("x" * 6 * MIB))[:size]
    first = content[:100]
    pair.sender.setblocking(True)
    socket.send_fds(pair.sender, [first], [writing])
    pair.sender.setblocking(False)
    os.close(writing)

    async def send_the_rest() -> None:
        await pair.send(content[100:])
        pair.sender.close()

    sending = asyncio.create_task(send_the_rest())
    with pytest.raises(EOFError):
        await pair.next()
    await sending
    pair.reader.close()
    # The other end of the pipe sees that it is closed.
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)


async def test_a_header_that_is_beyond_the_limits_is_dropped(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    too_long = bytes(RawCall(**(CALL | {"path": "/" + "x" * 2 * MIB})))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        sending = asyncio.create_task(pair.send(too_long + call("s", text("next"))))
        following = await pair.next()
        await sending
    assert isinstance(following, Message)
    assert "its header is malformed." in caplog.text


async def test_a_message_beyond_the_specification_ends_the_connection(pair: Pair) -> None:
    await pair.send(b"l\1\0\1\xff\xff\xff\xff\1\0\0\0\0\0\0\0")
    with pytest.raises(EOFError):
        await pair.next()


async def test_a_message_that_cannot_be_parsed_is_refused(pair: Pair) -> None:
    await pair.send(call("s", text("a\xff").replace(b"a\xc3\xbf", b"\xff\xfe\xfd")) + call("", b""))
    refused = await pair.next()
    assert isinstance(refused, RefusedMessage)
    assert refused.reason == "The message was rejected: it is malformed."
    assert isinstance(await pair.next(), Message)
