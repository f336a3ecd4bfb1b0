# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process of an RBD pool, asked as the keeper asks it.

::

    async with rbd_process(pool) as process:
        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence

from tests.support.ceph import CephPool
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol import rbd
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Call
from virtlayer.protocol.memory_files import new_memory_file, seal


class RbdProcess:
    """A running process, and the connection to it.

    Attributes:
        pid: Its process id.
        connection: The connection.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.pid = process.pid
        self.connection = connection
        self._process = process
        self._kept: list[int] = []

    async def open(self, pool: CephPool) -> rbd.Opened:
        """Open the pool of this process."""
        monitor = rbd.Monitor("127.0.0.1", pool.port)
        request = rbd.Open(pool=pool.name, user=pool.user, monitors=(monitor,))
        with sealed(pool.key.encode()) as key:
            opened, _ = await self.connection.ask_with(rbd.OPEN, request, [key])
        return opened

    async def ask[Q, R](self, call: Call[Q, R], request: Q, descriptors: Sequence[int] = ()) -> R:
        """Ask it for something; the descriptors of the reply are closed."""
        reply, received = await self.connection.ask_with(call, request, descriptors)
        for descriptor in received:
            os.close(descriptor)
        return reply

    def keep(self, descriptor: int) -> None:
        """Keep the descriptor of a claim open until the connection is closed."""
        self._kept.append(descriptor)

    def close(self) -> None:
        """Close the connection; the process ends when nothing needs it any more."""
        self.connection.close()
        while self._kept:
            os.close(self._kept.pop())

    async def wait(self) -> int:
        """Wait for its end; return its exit status."""
        return await asyncio.to_thread(self._process.wait, 120)


@contextlib.contextmanager
def sealed(content: bytes) -> Iterator[int]:
    """A sealed memory file."""
    with contextlib.closing(new_memory_file()) as file:
        os.write(file, content)
        seal(file)
        yield file


@contextlib.asynccontextmanager
async def rbd_process(
    pool: CephPool | None = None, program: Sequence[str] = ("-m", "virtlayer.rbd")
) -> AsyncIterator[RbdProcess]:
    """Run a process within the context.

    Args:
        pool: The pool that it opens; None if the test opens one.
        program: What Python runs.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", *program],
            stdin=theirs.fileno(),
            env={"PATH": "/usr/bin"},
        )
    connection = Connection(ours, "virtlayer-rbd", lambda: PoolUnavailable("virtlayer-rbd ended."))
    running = RbdProcess(process, connection)
    try:
        if pool is not None:
            await running.open(pool)
        yield running
    finally:
        running.close()
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)
