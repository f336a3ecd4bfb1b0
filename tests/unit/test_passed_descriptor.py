# SPDX-License-Identifier: LGPL-2.1-or-later
"""No kind of caller's descriptor delays other callers."""

import asyncio
import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import nothing_left
from tests.support.stalled_files import stalled_files
from tests.support.waiting import until
from virtlayer.errors import InvalidArgument
from virtlayer.service.source import passed_descriptor
from virtlayer.service.source.passed_descriptor import content_of, read_passed, secrets_deadline

CONTENT = b"secret" * 50_000
LIMIT = 1_000_000

type Giving = Callable[[bytes], contextlib.AbstractContextManager[int]]


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_descriptor, "_SECONDS", 0.2)


@contextlib.contextmanager
def fed_pipe(content: bytes) -> Iterator[int]:
    """A pipe that gives more than it can hold at once."""
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=feed)
    thread.start()
    yield reading
    os.close(reading)
    thread.join()


@contextlib.contextmanager
def fed_socket(content: bytes) -> Iterator[int]:
    ours, theirs = socket.socketpair()

    def feed() -> None:
        with theirs:
            theirs.sendall(content)

    thread = threading.Thread(target=feed)
    thread.start()
    with ours:
        yield ours.fileno()
    thread.join()


@contextlib.contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("content")
    os.write(descriptor, content)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("kind", [fed_pipe, fed_socket, memory_file])
async def test_content_is_read_to_its_end(kind: Giving) -> None:
    with nothing_left(), kind(CONTENT) as descriptor:
        assert await content_of(descriptor, "auth-fd", LIMIT, secrets_deadline()) == CONTENT


async def test_more_than_the_limit_is_refused() -> None:
    too_much = pytest.raises(InvalidArgument, match="more than 1000 B")
    with nothing_left(), memory_file(CONTENT) as descriptor, too_much:
        await content_of(descriptor, "auth-fd", 1000, secrets_deadline())


async def test_file_on_a_disk_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        assert await content_of(file.fileno(), "auth-fd", LIMIT, secrets_deadline()) == CONTENT


@contextlib.contextmanager
def silent_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


@contextlib.contextmanager
def socket_below_its_low_water_mark() -> Iterator[int]:
    """poll(2) may call it readable, and a read that waits would wait."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
        theirs.send(b"some")
        yield ours.fileno()


@contextlib.contextmanager
def named_pipe_without_end(directory: Path) -> Iterator[int]:
    os.mkfifo(directory / "fifo")
    descriptor = os.open(directory / "fifo", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.mark.usefixtures("short_deadline")
@pytest.mark.parametrize("kind", ["pipe", "socket", "named pipe"])
async def test_descriptor_without_end_of_file_is_refused(kind: str, tmp_path: Path) -> None:
    made: dict[str, Callable[[], contextlib.AbstractContextManager[int]]] = {
        "pipe": silent_pipe,
        "socket": socket_below_its_low_water_mark,
        "named pipe": lambda: named_pipe_without_end(tmp_path),
    }
    with nothing_left(), made[kind]() as descriptor:
        assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
        with pytest.raises(InvalidArgument, match="Close its other end"):
            await content_of(descriptor, "auth-fd", LIMIT, secrets_deadline())


async def test_cancellation_ends_the_reading() -> None:
    with nothing_left(), silent_pipe() as descriptor:
        reading = asyncio.create_task(read_passed(descriptor, lambda _: True))
        await until(lambda: any(one.name.startswith("reads") for one in threading.enumerate()))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/environ", "/"])
async def test_other_files_are_refused(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(InvalidArgument, match=r"must be a regular file|could block"):
        await content_of(descriptor, "auth-fd", LIMIT, secrets_deadline())
    os.close(descriptor)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
async def test_other_sockets_are_refused(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs, pytest.raises(InvalidArgument, match="stream socket"):
        await content_of(ours.fileno(), "auth-fd", LIMIT, secrets_deadline())


async def test_closed_descriptor_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        await content_of(10_000, "auth-fd", LIMIT, secrets_deadline())


@pytest.mark.root
async def test_file_whose_reads_hang_is_refused(tmp_path: Path) -> None:
    with stalled_files(tmp_path) as stalled:
        descriptor = os.open(stalled.file, os.O_RDONLY)
        try:
            with pytest.raises(InvalidArgument, match=r"could block.*memfd"):
                await content_of(descriptor, "auth-fd", LIMIT, secrets_deadline())
        finally:
            os.close(descriptor)
        assert not stalled.asked.is_set()
