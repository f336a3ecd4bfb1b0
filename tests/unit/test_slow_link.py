# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network with a round-trip time, which tests and the benchmark use."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.slow_link import SlowLink
from tests.support.waiting import PATIENCE, wait_until

_ROUND_TRIP = 0.1
_CONTENT = random.Random(1).randbytes(32 * 1024**2)  # noqa: S311 -- the same every time


@pytest.fixture
def server() -> Iterator[int]:
    """Sends back what it receives, until the other side has sent everything; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(1024**2):
                    connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    listening.close()


def _asked(connection: socket.socket) -> float:
    begun = time.monotonic()
    connection.sendall(b"?")
    assert connection.recv(10) == b"?"
    return time.monotonic() - begun


def test_an_answer_takes_a_round_trip_and_the_first_one_two(server: int) -> None:
    with (
        SlowLink(_ROUND_TRIP) as link,
        socket.create_connection(("127.0.0.1", link.forward("127.0.0.1", server))) as connection,
    ):
        assert _asked(connection) >= 2 * _ROUND_TRIP
        # Some take longer on a busy machine, but none is faster.
        wait_until(lambda: _ROUND_TRIP <= _asked(connection) < 2 * _ROUND_TRIP)
        link.round_trip = 0.0
        wait_until(lambda: _asked(connection) < _ROUND_TRIP)


def test_bytes_arrive_unchanged_and_do_not_wait_for_each_other(server: int) -> None:
    with (
        SlowLink(1.0) as link,
        socket.create_connection(("127.0.0.1", link.forward("127.0.0.1", server))) as connection,
    ):
        begun = time.monotonic()

        def send() -> None:
            connection.sendall(_CONTENT)
            connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        with connection.makefile("rb") as file:
            received = file.read()
        sending.join()
        # One piece of 256 KiB at a time would take 128 round trips.
        assert time.monotonic() - begun < PATIENCE
        assert received == _CONTENT


def test_descriptors_of_a_connection_are_closed_when_it_has_ended(server: int) -> None:
    descriptors = Path("/proc/self/fd")
    with SlowLink() as link:
        port = link.forward("127.0.0.1", server)
        before = len(list(descriptors.iterdir()))
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                assert _asked(connection) > 0
        wait_until(lambda: len(list(descriptors.iterdir())) <= before)


def test_a_client_learns_that_the_server_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    with (
        SlowLink() as link,
        socket.create_connection(("127.0.0.1", link.forward("127.0.0.1", port))) as connection,
    ):
        assert connection.recv(10) == b""
