# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lifetime of the daemon, and its shutdown without losing a message.

It stops after the idle timeout, on a signal, and when it loses its bus. It first releases its name,
and replies to all calls that were sent to the name before it exits, so that every later call starts
a new daemon. It keeps running while a finished job can still be read.
"""

import asyncio
import contextlib
import logging

from virtlayer import journal
from virtlayer.dbus.connection import Connection
from virtlayer.service.bus.server import Server
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job, JobState
from virtlayer.service.machines.streams.streams import Streams

_log = logging.getLogger(__name__)

_LOOK_INTERVAL = 1.0
"""Seconds between two checks whether the daemon is idle."""
_STOP_PATIENCE = 8.0
"""Seconds that cancelled jobs may take to clean up: with the calls, less than the promised 10."""
_CALL_PATIENCE = 1.0
_EXTENSION = 30
"""Seconds by which the stop timeout of the service manager is extended."""


class Life:
    """The lifetime of a daemon whose server has started. It also reports its state to systemd.

    Args:
        connection: The bus.
        server: The objects on the bus.
        jobs: The jobs.
        streams: The open streams of machines.
        idle_timeout: Seconds without a call or job after which the daemon ends; 0 for never.
    """

    def __init__(
        self,
        connection: Connection,
        server: Server,
        jobs: Jobs,
        streams: Streams,
        idle_timeout: int,
    ) -> None:
        self._connection = connection
        self._server = server
        self._jobs = jobs
        self._streams = streams
        self._idle_timeout = idle_timeout
        self._status = _Status(jobs)
        self._clock = asyncio.get_running_loop().time

    async def last(self, stop: asyncio.Event) -> int:
        """Run until the daemon is to stop, and shut it down.

        Args:
            stop: Set when the daemon is to stop.

        Returns:
            The exit status: not 0 if the bus was lost, so that systemd starts the daemon again.
        """
        self._jobs.subscribe(self._status)
        journal.notify(READY=1, STATUS=_status(self._jobs))
        lost = asyncio.create_task(self._lost(), name="loss of the bus")
        told = asyncio.create_task(stop.wait(), name="stop signal")
        idle = asyncio.create_task(self._leave_when_idle(), name="idle exit")
        watchdog = asyncio.create_task(_feed_watchdog(), name="watchdog")
        try:
            await asyncio.wait([lost, told, idle], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                return await self._give_up()
            if idle.done():
                await idle
                return 0
            return await self._stop()
        except (OSError, EOFError):
            # The bus was lost while the name was acquired again.
            return await self._give_up()
        finally:
            await _cancel(lost, told, idle, watchdog)

    async def _lost(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            await self._connection.ended()

    async def _give_up(self) -> int:
        _log.critical("The connection to the bus was lost. virtlayerd stops.")
        self._status.is_final = True
        journal.notify(STOPPING=1, STATUS="Bus connection lost")
        await self._jobs.close(_STOP_PATIENCE)
        return 1

    async def _stop(self) -> int:
        self._status.is_final = True
        journal.notify(STOPPING=1, STATUS="Stopping")
        with contextlib.suppress(OSError, EOFError):
            await self._server.withdraw()
        if not await self._jobs.close(_STOP_PATIENCE):
            _log.error("A job did not stop within %.0f seconds.", _STOP_PATIENCE)
        await self._server.finish(_CALL_PATIENCE)
        return 0

    async def _leave_when_idle(self) -> None:
        await self._idle()
        # Reported before the name is released: systemd then delays a new start until this process
        # has ended, instead of treating the service as running.
        journal.notify(STOPPING=1, STATUS="Idle, exiting")
        while True:
            await self._server.withdraw()
            await self._server.finish(_EXTENSION)
            if not self._is_needed:
                return
            # The last call has started a job, for which its caller looks under our name, or opened
            # a stream.
            await self._server.resume()
            while self._is_needed:
                journal.notify(EXTEND_TIMEOUT_USEC=_EXTENSION * 1_000_000)
                await asyncio.sleep(_LOOK_INTERVAL)

    @property
    def _is_needed(self) -> bool:
        return bool(self._jobs.unfinished or self._streams.number)

    async def _idle(self) -> None:
        """Return after the idle timeout."""
        if not self._idle_timeout:
            await asyncio.Event().wait()
        quiet_since = self._clock()
        while True:
            if self._server.calls or self._jobs.list() or self._streams.number:
                quiet_since = self._clock()
            quiet_since = max(quiet_since, self._server.last_call)
            left = quiet_since + self._idle_timeout - self._clock()
            if left <= 0:
                return
            await asyncio.sleep(min(left, _LOOK_INTERVAL))


class _Status:
    """Updates the STATUS that ``systemctl status`` shows."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.is_final = False
        """Set when the status says that the daemon is stopping: then it no longer changes."""

    def added(self, _job: Job) -> None:
        """Report the new number of jobs."""
        if not self.is_final:
            journal.notify(STATUS=_status(self._jobs))

    def changed(self, _job: Job, names: frozenset[str]) -> None:
        """Report the new number of running jobs."""
        if "state" in names and not self.is_final:
            journal.notify(STATUS=_status(self._jobs))

    def progressed(self, _job: Job) -> None:
        """Do nothing: the status only counts jobs."""

    def finished(self, _job: Job) -> None:
        """Do nothing: the change of the state was reported before."""

    def removed(self, _job: Job) -> None:
        """Do nothing: only jobs that have ended are removed."""


def _status(jobs: Jobs) -> str:
    states = [job.state for job in jobs.list()]
    running, queued = states.count(JobState.RUNNING), states.count(JobState.QUEUED)
    return f"{running} running, {queued} waiting" if running or queued else "Idle"


async def _feed_watchdog() -> None:
    interval = journal.watchdog_interval()
    while interval is not None:
        journal.notify(WATCHDOG=1)
        await asyncio.sleep(interval)


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
