# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that the keeper runs for the service; see ``keeper.answers.programs``."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from virtlayer.cancellation import settled
from virtlayer.errors import PoolUnavailable
from virtlayer.programs import ProgramFailed
from virtlayer.protocol import calls
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.programs import Ended, StartProgram
from virtlayer.service.keeper.connection import KeeperLink


class Program(Protocol):
    """A running program, in either process; ``virtlayer.programs.RunningProgram`` is one."""

    name: str
    pid: int

    async def wait(self) -> int:
        """Wait until the program exits; return its exit status, negative for a signal.

        Raises:
            PoolUnavailable: The program was killed because its keeper has ended.
        """

    async def check(self) -> None:
        """Wait until the program exits; raise ProgramFailed if the status is not 0."""

    def failure(self) -> ProgramFailed:
        """Return the error for a program that has exited."""

    def terminate(self) -> None:
        """Send SIGTERM to the program."""

    async def kill(self) -> None:
        """Kill the program."""


class Programs(Protocol):
    """A runner of programs, each for as long as a context lasts."""

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[Program]:
        """Run a program; the caller closes the descriptors."""


class KeptProgram:
    """A program that the keeper runs."""

    def __init__(self, connection: Connection, started: calls.Started, pidfd: int) -> None:
        self.name = started.name
        self.pid = _pid_of(pidfd)
        self._connection = connection
        self._number = started.program
        self._pidfd = pidfd
        self._ended: Ended | None = None
        self._lost: PoolUnavailable | None = None
        self._dying: asyncio.Task[None] | None = None
        self._killing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    async def wait(self) -> int:
        """Wait until the program exits; return its exit status, negative for a signal.

        Raises:
            PoolUnavailable: The program was killed because its keeper has ended.
        """
        if self._lost is not None:
            raise self._lost
        if self._ended is None:
            request = calls.KnownProgram(self._number)
            try:
                self._ended = await self._connection.ask(calls.WAIT_PROGRAM, request)
            except PoolUnavailable as error:
                await self._gone(error)
                raise
        return self._ended.status

    async def check(self) -> None:
        """Wait until the program exits.

        Raises:
            ProgramFailed: The exit status is not 0.
        """
        if await self.wait() != 0:
            raise self.failure()

    def failure(self) -> ProgramFailed:
        """Return the error for a program that has exited."""
        ended = self._ended or Ended(0, "")
        return ProgramFailed(self.name, ended.status, ended.stderr)

    def terminate(self) -> None:
        """Ask the program to terminate; do nothing if it has already exited."""
        task = asyncio.create_task(self._terminate(), name=f"end of {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def kill(self) -> None:
        """Kill the program and its children; that goes on if this is cancelled."""
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill(), name=f"kill of {self.name}")
        await asyncio.shield(self._killing)

    async def _kill(self) -> None:
        for task in tuple(self._tasks):
            await settled(task)
        try:
            request = calls.EndProgram(self._number, kill=True)
            ended = await self._connection.ask(calls.END_PROGRAM, request)
            self._ended = self._ended or ended
        except PoolUnavailable as error:
            await self._gone(error)
        finally:
            # Not earlier: if a descriptor is closed while the event loop watches it, the loop does
            # not see when the next one of that number can be read.
            pidfd, self._pidfd = self._pidfd, -1
            os.close(pidfd)

    async def _terminate(self) -> None:
        with contextlib.suppress(PoolUnavailable):
            request = calls.EndProgram(self._number, kill=False)
            await self._connection.ask(calls.END_PROGRAM, request)

    async def _gone(self, error: PoolUnavailable) -> None:
        """Wait until the kernel has killed the program, because the keeper has ended."""
        self._lost = error
        if self._pidfd < 0:
            return
        if self._dying is None:
            self._dying = asyncio.create_task(_until_dead(self._pidfd), name=f"end of {self.name}")
        await asyncio.shield(self._dying)


async def _until_dead(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    dead = asyncio.Event()
    loop.add_reader(pidfd, dead.set)
    try:
        await dead.wait()
    finally:
        loop.remove_reader(pidfd)


class KeeperPrograms:
    """Runs programs that need no staging directory.

    Args:
        link: The link to the keeper.
    """

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    @contextlib.asynccontextmanager
    async def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AsyncIterator[Program]:
        """Run a program for as long as the context lasts."""
        async with running_on(await self._link.connection(), request, descriptors) as program:
            yield program


@contextlib.asynccontextmanager
async def running_on(
    connection: Connection, request: StartProgram, descriptors: Sequence[int]
) -> AsyncIterator[Program]:
    """Run a program for as long as the context lasts; it has ended on exit.

    Args:
        connection: The connection to the keeper that runs the program.
        request: The program and its settings.
        descriptors: The descriptors for the program; the caller closes them.

    Raises:
        PoolUnavailable: The keeper has ended.
    """
    starting = asyncio.ensure_future(connection.ask_with(calls.START_PROGRAM, request, descriptors))
    try:
        started, [pidfd] = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await settled(starting)
        if not starting.cancelled() and starting.exception() is None:
            started, [pidfd] = starting.result()
            await KeptProgram(connection, started, pidfd).kill()
        raise
    program = KeptProgram(connection, started, pidfd)
    try:
        yield program
    finally:
        await program.kill()


def _pid_of(pidfd: int) -> int:
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii")
    return int(dict(line.split(":", 1) for line in info.splitlines())["Pid"])
