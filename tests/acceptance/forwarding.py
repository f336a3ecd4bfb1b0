# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ports of this machine and a name server, in the network namespace of a container.

Both are sockets that were made in the container's network namespace, and are served here.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_CHUNK = 256 * 1024
_DNS_PORT = 53
_DNS_MESSAGE = 4096
_DNS_HEADER = 12
"""Bytes before the name of the question (RFC 1035)."""
_TYPE_A = b"\0\1"


@contextlib.contextmanager
def forwarded(leader: int, port: int) -> Iterator[None]:
    """Let processes in a network namespace reach a port of this machine.

    Args:
        leader: A process in that namespace.
        port: The TCP port, on 127.0.0.1 on both sides.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"forward port {port}")
    thread.start()
    listening = _in_network_of(leader, lambda: socket.create_server((_LOOPBACK, port)))
    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(lambda *streams: _connect(port, *streams), sock=listening), loop
    ).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def name_server(leader: int) -> Iterator[None]:
    """Run a name server in a network namespace that says that every host is 127.0.0.1.

    Args:
        leader: A process in that namespace.
    """

    def bound() -> socket.socket:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((_LOOPBACK, _DNS_PORT))
        return server

    with _in_network_of(leader, bound) as server:
        thread = threading.Thread(target=_answer_questions, args=(server,), name="name server")
        thread.start()
        try:
            yield
        finally:
            # Wakes the thread, which then ends.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer_questions(server: socket.socket) -> None:
    while True:
        question, asker = server.recvfrom(_DNS_MESSAGE)
        if not question:
            return
        # Header, name, type and class; further records of the question are left out.
        end = question.index(b"\0", _DNS_HEADER) + 5
        wants_address = question[end - 4 : end - 2] == _TYPE_A
        counts = (1, 1 if wants_address else 0, 0, 0)
        answer = (
            question[:2] + b"\x81\x80" + struct.pack("!4H", *counts) + question[_DNS_HEADER:end]
        )
        if wants_address:
            # The name is that of the question.
            record = struct.pack("!HHHIH", 0xC000 | _DNS_HEADER, 1, 1, 60, 4)
            answer += record + socket.inet_aton(_LOOPBACK)
        server.sendto(answer, asker)


def _in_network_of(leader: int, make: Callable[[], socket.socket]) -> socket.socket:
    """Make a socket in a process's network namespace; it stays there, whatever process has it."""

    def made() -> socket.socket:
        # The namespace is the thread's.
        with Path(f"/proc/{leader}/ns/net").open("rb") as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(made).result()


async def _connect(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        from_target, to_target = await asyncio.open_connection(_LOOPBACK, port)
        await asyncio.gather(_copy(reader, to_target), _copy(from_target, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    except OSError:
        pass  # the other side has closed
    finally:
        target.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
