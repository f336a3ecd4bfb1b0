# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects a port on the loopback device of a container to the same port of this machine."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_CHUNK = 256 * 1024


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
    listening = _listening_in(leader, port)
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


def _listening_in(leader: int, port: int) -> socket.socket:
    """A socket that listens in the namespace; it stays there, whatever process has it."""

    def listen() -> socket.socket:
        # The namespace is the thread's.
        with Path(f"/proc/{leader}/ns/net").open("rb") as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)
        return socket.create_server((_LOOPBACK, port))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(listen).result()


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
