# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packets by which a compromised service could stop the keeper, or use up what it has."""

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper.test_listening import listening
from tests.support.keeper import NO_LIBVIRT
from tests.support.raw_keeper import RawKeeper, raw_keeper
from tests.support.waiting import PATIENCE
from virtlayer.protocol.packets import PacketSocket

_HOURS = struct.pack("ii", 1, 3600)
_HELLO = {"id": 1, "ask": "hello", "with": {}}


@contextlib.contextmanager
def _lingering() -> Iterator[socket.socket]:
    """A TCP socket whose close(2) blocks: its peer does not take what was sent."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(2**20))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HOURS)
        try:
            yield client
        finally:
            # A reset ends the lingering.
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "packet", [_HELLO, {"piece": "{"}, {"id": 1, "ask": "wait-program", "with": {"program": 1}}]
)
def test_a_socket_that_lingers_does_not_stop_the_keeper(packet: object, nested: bool) -> None:
    with (
        _lingering() as client,
        listening(NO_LIBVIRT) as keeper,
        keeper.connected() as one,
        keeper.connected() as other,
    ):
        if nested:
            # In the queue of a Unix socket: it is closed with that one.
            near, far = socket.socketpair()
            with near, far:
                socket.send_fds(near, [b"x"], [client.fileno()])
                client.close()
                near.close()
                one.send(packet, [far.fileno()])
        else:
            one.send(packet, [client.fileno()])
            client.close()
        other.connection.settimeout(PATIENCE)
        for _ in range(3):
            assert other.get("hello")


@pytest.mark.parametrize("piece", ["", "x"])
def test_pieces_without_an_end_do_not_stop_the_keeper(piece: str) -> None:
    """Nor do they take memory: empty ones do not count as characters."""
    with listening(NO_LIBVIRT) as keeper, keeper.connected() as one, keeper.connected() as other:
        over = threading.Event()

        def flood() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    one.send({"piece": piece})

        sender = threading.Thread(target=flood)
        sender.start()
        try:
            for _ in range(20):
                assert other.get("hello")
        finally:
            over.set()
            sender.join()
        if not piece:
            assert one.is_closed()


async def test_a_connection_that_is_never_read_is_forgotten_when_it_is_closed() -> None:
    """The event loop forgets its number, too, which the next connection gets."""
    keeper, service = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = keeper.fileno()
    packets = PacketSocket(keeper, 1000, _ignore, _ignore)
    answers = [asyncio.create_task(packets.send({"id": number})) for number in range(600)]
    await answers[0]
    packets.close()
    for answer in answers:
        answer.cancel()
    await asyncio.wait(answers)
    service.close()
    keeper, service = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with service:
        assert number in (keeper.fileno(), service.fileno())
        for end in (keeper, service):
            PacketSocket(end, 1000, _ignore, _ignore).close()


def _ignore(*_: object) -> None:
    pass


def test_descriptors_of_requests_that_wait_are_closed() -> None:
    with raw_keeper() as keeper, Path("/dev/null").open("rb") as file:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            request = {
                "kind": "unpacker",
                "staging": None,
                "memory": 2**30,
                "cpu_seconds": 60,
                "image": None,
                "writable": False,
            }
            started = keeper.ask("start-program", [theirs.fileno()], **request)
            os.close(started.descriptors[0])
            before = _descriptors(keeper)
            content = {"program": started.done["program"]}
            for number in range(100):
                message = {"id": number, "ask": "wait-program", "with": content}
                keeper.send(message, [file.fileno()] * 4)
            for _ in range(3):
                keeper.get("hello")
            # They are closed in threads.
            deadline = time.monotonic() + PATIENCE
            while _descriptors(keeper) - before > 4:
                assert time.monotonic() < deadline
                keeper.get("hello")


def test_the_keeper_survives_a_shortage_of_descriptors() -> None:
    with listening(NO_LIBVIRT) as keeper, keeper.connected() as one:
        assert one.get("hello")
        pid = str(keeper.process.pid)
        used = max(int(path.name) for path in Path("/proc", pid, "fd").iterdir())
        _limit(keeper.process.pid, used + 1)
        with keeper.connected() as other:
            # It cannot be accepted, and waits.
            other.send(_HELLO)
            for _ in range(3):
                assert one.get("hello")
            _limit(keeper.process.pid, used + 100)
            assert other.connection.recv(1024)


def _limit(pid: int, descriptors: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, 4096))


def _descriptors(keeper: RawKeeper) -> int:
    return len(list(Path(f"/proc/{keeper.process.pid}/fd").iterdir()))
