# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network with a round-trip time, on loopback: forwards TCP connections, and delays every byte.

::

    with SlowLink(round_trip=0.01) as link:
        port = link.forward("127.0.0.1", registry.port)     # of 127.0.0.1

Each direction takes half of the round trip, and a connection one more before its first byte, as
TCP's handshake does. It limits no bandwidth: what arrives is sent on when its time has come,
however much is under way. (The kernels of test machines have no ``tc netem``.)
"""

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

_PIECE = 256 * 1024
_UNDER_WAY = 64 * 1024**2
"""Bytes of one direction; at 10 ms more than any connection here sends in half of that."""


class SlowLink:
    """``with SlowLink() as link:`` — ends its connections and threads.

    Args:
        round_trip: Seconds.

    Attributes:
        round_trip: Seconds; a change is for what arrives later.
    """

    def __init__(self, round_trip: float = 0.0) -> None:
        self.round_trip = round_trip
        self._listening: list[socket.socket] = []
        self._connections: dict[tuple[socket.socket, socket.socket], int] = {}
        """The open ones, and how many of their directions have not ended."""
        self._threads: list[threading.Thread] = []
        self._changing = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changing:
            self._is_closed = True
            for one in self._listening:
                _shut_down(one)
            for pair in self._connections:
                for end in pair:
                    _shut_down(end)
        for thread in self._threads:
            thread.join()
        for one in (*self._listening, *(end for pair in self._connections for end in pair)):
            one.close()

    def forward(self, host: str, port: int, *, near: str = "127.0.0.1", near_port: int = 0) -> int:
        """Forward connections.

        Args:
            host: The server's address.
            port: The server's port.
            near: The address on which the link listens.
            near_port: Its port there; 0 for a free one.

        Returns:
            The port on which it listens.
        """
        listening = socket.create_server((near, near_port), backlog=1024)
        self._listening.append(listening)
        self._start(partial(self._accept, listening, (host, port)))
        return int(listening.getsockname()[1])

    def _accept(self, listening: socket.socket, target: tuple[str, int]) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(target)
            except OSError:
                client.close()
                continue
            with self._changing:
                if self._is_closed:
                    client.close()
                    server.close()
                    return
                for one in (client, server):
                    one.setblocking(False)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[client, server] = 2
                now = time.monotonic()
                # When the server has the request for a connection, and when the client its answer.
                half = self.round_trip / 2
                back = _Direction(self, server, client, now + half)
                forth = _Direction(self, client, server, now + 2 * half)
                for direction in (back, forth):
                    self._start(partial(self._run, direction, (client, server)))

    def _run(self, direction: "_Direction", pair: tuple[socket.socket, socket.socket]) -> None:
        direction.run()
        with self._changing:
            self._connections[pair] -= 1
            if not self._connections[pair]:
                # Now: select(2) takes no descriptor above 1023, and a cluster connects often.
                del self._connections[pair]
                for end in pair:
                    end.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="slow link", daemon=True)
        self._threads.append(thread)
        thread.start()


class _Direction:
    """One direction of a connection.

    Args:
        link: Tells the round-trip time.
        source: Where the bytes come from.
        target: Where they go.
        begin: Before that, nothing is sent, by ``time.monotonic``.
    """

    def __init__(
        self, link: SlowLink, source: socket.socket, target: socket.socket, begin: float
    ) -> None:
        self._link = link
        self._source = source
        self._target = target
        self._begin = begin
        self._last_due = begin
        self._pieces: deque[tuple[float, memoryview, bytearray]] = deque()
        """When what is due, and the buffers of these bytes."""
        self._under_way = 0
        self._free: list[bytearray] = []
        """Buffers that can be used again: new ones take longer than the copying."""
        self._has_ended = False

    def run(self) -> None:
        """Forward until the source or the target has ended."""
        try:
            while self._pieces or not self._has_ended:
                self._step()
            self._target.shutdown(socket.SHUT_WR)
        except OSError:
            _shut_down(self._source)
            _shut_down(self._target)

    def _step(self) -> None:
        left = self._pieces[0][0] - time.monotonic() if self._pieces else None
        is_due = left is not None and left <= 0
        takes_more = not self._has_ended and self._under_way < _UNDER_WAY
        readable, writable, _ = select.select(
            [self._source] if takes_more else [],
            [self._target] if is_due else [],
            [],
            None if is_due else left,
        )
        if readable:
            self._receive()
        if writable:
            self._send()

    def _receive(self) -> None:
        buffer = self._free.pop() if self._free else bytearray(_PIECE)
        count = self._source.recv_into(buffer)
        if not count:
            self._has_ended = True
            return
        sent = max(time.monotonic(), self._begin)
        # The order stays, even if the round-trip time has become shorter.
        self._last_due = max(self._last_due, sent + self._link.round_trip / 2)
        self._pieces.append((self._last_due, memoryview(buffer)[:count], buffer))
        self._under_way += count

    def _send(self) -> None:
        due, data, buffer = self._pieces.popleft()
        count = self._target.send(data)
        self._under_way -= count
        if count < len(data):
            self._pieces.appendleft((due, data[count:], buffer))
        else:
            self._free.append(buffer)


def _shut_down(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
