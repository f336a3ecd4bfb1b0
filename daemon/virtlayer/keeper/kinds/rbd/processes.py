# SPDX-License-Identifier: LGPL-2.1-or-later
"""The processes of the RBD pools that are in use: one for each pool.

A process is started by the first request about its pool. It is ended when it was not asked anything
for a while, and holds nothing for the service. After it has ended, for whatever reason, the next
request starts another one.
"""

import asyncio
import base64
import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum

from virtlayer.errors import PoolUnavailable, VirtlayerError
from virtlayer.keeper.connection import Connection as Libvirt
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.rbd.process import PROGRAM, Connect
from virtlayer.keeper.kinds.rbd.secret import secret_value
from virtlayer.keeper.kinds.rbd.source import RbdSource, parse_source
from virtlayer.keeper.kinds.rbd.watching import watched
from virtlayer.protocol import rbd
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Call
from virtlayer.protocol.memory_files import new_memory_file, seal
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.rbd import RbdMessage

_log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""After this time without a request, a process that holds nothing is ended."""
REQUEST_SECONDS = 600.0
"""After which a request fails that a compromised process has not answered."""
_ENDLESS = frozenset(
    (RbdMessage.WAIT_SERVER, RbdMessage.DELETE, RbdMessage.WITHDRAW, RbdMessage.SWEEP)
)
"""Requests that take as long as a job runs, or as an image is large."""


class RbdProcess:
    """The process of one pool, and the connection to it.

    Args:
        connection: The connection.
        source: The pool of the cluster that it has opened.
        opened: What it has answered to that.
        life: Ends the connection and the process.
        idle: Called when it is not used for a while.

    Attributes:
        source: The pool of the cluster that it has opened.
        opened: The cluster.
    """

    def __init__(
        self,
        connection: Connection,
        source: RbdSource,
        opened: rbd.Opened,
        life: AsyncExitStack,
        idle: "Callable[[RbdProcess], None]",
    ) -> None:
        self.source = source
        self.opened = opened
        self._connection = connection
        self._life = life
        self._idle = idle
        self._uses = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._connection.ended

    async def ask[Q, R](self, call: Call[Q, R], request: Q, descriptors: Sequence[int] = ()) -> R:
        """Send a request; see ``asking.Connection``."""
        async with self._used(call.message):
            return await self._connection.ask(call, request, descriptors)

    async def ask_with[Q, R](
        self, call: Call[Q, R], request: Q, descriptors: Sequence[int]
    ) -> tuple[R, list[int]]:
        """Send a request whose reply has descriptors; see ``asking.Connection``."""
        async with self._used(call.message):
            return await self._connection.ask_with(call, request, descriptors)

    async def made[T](
        self, making: Coroutine[object, object, T], undo: Callable[[T], Awaitable[None]]
    ) -> T:
        """Await requests that make something in the process.

        If the caller is cancelled meanwhile, it is undone in the background as soon as it is made:
        a cluster that has stalled does not delay the end of a job.
        """
        self.hold()
        task = asyncio.ensure_future(making)
        task.add_done_callback(lambda _: self.let_go())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.in_background(_undone(task, undo))
            raise

    def in_background(self, work: Coroutine[object, object, None]) -> None:
        """Do something that nobody waits for; it is not done if the process ends."""
        self.hold()
        # Eagerly: the request is sent before later ones.
        loop = asyncio.get_running_loop()
        task = asyncio.Task(_quietly(work), loop=loop, name="for a pool", eager_start=True)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def hold(self) -> None:
        """Keep the process: it is used."""
        self._uses += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def let_go(self) -> None:
        """Take back one ``hold``."""
        self._uses -= 1
        if not self._uses and not self.ended:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(IDLE_SECONDS, self._idle, self)

    async def close(self) -> None:
        """End it; pending requests get an error."""
        self._connection.close()
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._life.aclose()

    @contextlib.asynccontextmanager
    async def _used(self, message: StrEnum) -> AsyncIterator[None]:
        self.hold()
        try:
            async with asyncio.timeout(None if message in _ENDLESS else REQUEST_SECONDS):
                yield
        except TimeoutError as error:
            _log.error("A process of an RBD pool has not answered %s. It is given up.", message)
            self._connection.close()
            raise _ended(self.source.pool) from error
        finally:
            self.let_go()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.let_go()


class RbdProcesses:
    """The processes of the pools that are in use.

    Args:
        hypervisor: The connection to libvirt, which has the keys.
        connect: Connects to a new process.
    """

    def __init__(self, hypervisor: Hypervisor, connect: Connect) -> None:
        self._hypervisor = hypervisor
        self._connect = connect
        self._processes: dict[str, RbdProcess] = {}
        self._former: set[RbdProcess] = set()
        """Those of pools that were redefined; jobs may still use them."""
        self._starting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closing: set[asyncio.Task[None]] = set()

    def of_other_clusters(self, cluster: str) -> tuple[RbdSource, ...]:
        """The pools in use that are in another cluster.

        Args:
            cluster: The fsid of the cluster.
        """
        processes = self._processes.values()
        return tuple(one.source for one in processes if one.opened.cluster != cluster)

    async def of(self, pool: Pool) -> RbdProcess:
        """Return the process of a pool; start it if there is none.

        Raises:
            PoolUnavailable: The cluster or the process cannot be reached, or the key is missing.
            PoolUnsupported: The pool cannot be used with its description, user or secret.
        """
        async with self._starting[pool.uuid]:
            process = self._processes.get(pool.uuid)
            if process is not None and process.ended:
                del self._processes[pool.uuid]
                await process.close()
            elif process is not None:
                if process.source.pool == str(pool.path):
                    return process
                self._former.add(process)
            started = await self._started(pool)
            self._processes[pool.uuid] = started
            return started

    async def close(self) -> None:
        """End all of them."""
        processes = [*self._processes.values(), *self._former]
        self._processes.clear()
        self._former.clear()
        await asyncio.gather(*(process.close() for process in processes))
        while self._closing:
            await asyncio.wait(self._closing)

    async def _started(self, pool: Pool) -> RbdProcess:
        source = parse_source(await self._hypervisor.call(_description, pool.uuid))
        key = b""
        if source.secret is not None:
            key = await secret_value(self._hypervisor, pool.name, source.secret)
        async with AsyncExitStack() as life:
            connected = await life.enter_async_context(self._connect())
            connection = Connection(connected, PROGRAM, lambda: _ended(pool.name))
            life.callback(connection.close)
            await life.enter_async_context(watched(connection, pool.name))
            opened = await _opened(connection, source, key)
            return RbdProcess(connection, source, opened, life.pop_all(), self._on_idle)

    def _on_idle(self, process: RbdProcess) -> None:
        self._former.discard(process)
        for uuid, one in tuple(self._processes.items()):
            if one is process:
                del self._processes[uuid]
        task = asyncio.create_task(process.close(), name="end of an unused process")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _opened(connection: Connection, source: RbdSource, key: bytes) -> rbd.Opened:
    request = rbd.Open(source.pool, source.user, source.monitors)
    if source.user is None:
        return await connection.ask(rbd.OPEN, request)
    content = new_memory_file()
    # As Ceph's own files have it.
    os.write(content, base64.b64encode(key))
    seal(content)
    try:
        return await connection.ask(rbd.OPEN, request, [content])
    finally:
        content.close()


async def _undone[T](task: asyncio.Future[T], undo: Callable[[T], Awaitable[None]]) -> None:
    await undo(await task)


async def _quietly(work: Coroutine[object, object, None]) -> None:
    try:
        await work
    except VirtlayerError as error:
        _log.info("In the background: %s", error)


def _description(connection: Libvirt, uuid: str) -> str:
    text: str = connection.storagePoolLookupByUUIDString(uuid).XMLDesc()
    return text


def _ended(pool: str) -> PoolUnavailable:
    return PoolUnavailable(
        f'The process of the pool "{pool}" ({PROGRAM}) stopped. It does so if the cluster has not '
        "answered for too long. Check the cluster, and try again; finished layers are kept. See "
        "the journal for the cause."
    )
