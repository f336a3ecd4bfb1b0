# SPDX-License-Identifier: LGPL-2.1-or-later
"""One job: its kind, its progress, its result."""

import asyncio
import copy
from enum import StrEnum
from typing import Protocol

from virtlayer.service.jobs.kind import Kind
from virtlayer.service.jobs.progress import LayerProgress, Progress, Stage


class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether this state is final."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


class JobListener(Protocol):
    """A receiver of notices about jobs. A notice comes after the change.

    ``added``, ``finished`` and ``removed`` come exactly once for every job, in this order.
    """

    def added(self, job: "Job") -> None:
        """The job was accepted; it runs, or waits in the queue."""

    def changed(self, job: "Job", names: frozenset[str]) -> None:
        """The attributes of these names have new values."""

    def progressed(self, job: "Job") -> None:
        """``progress``, ``stage`` or ``bytes_done`` moved; at most ten times a second."""

    def finished(self, job: "Job") -> None:
        """The job has ended; it stays readable for some time."""

    def removed(self, job: "Job") -> None:
        """The job is no longer readable."""


class Job:
    """One job of the engine. Only the engine changes it; the operation changes its ``report``.

    Args:
        number: Its ID, unique in this process.
        kind: Its kind.
        source: The image that it is about.
        pool: The name of the pool.
        started_by: The uid of the caller that started it.
        owner: The uid of the owner of the images.
        listener: Receives notices of its changes.
    """

    def __init__(
        self,
        number: int,
        *,
        kind: Kind,
        source: str,
        pool: str,
        started_by: int,
        owner: int,
        listener: JobListener,
    ) -> None:
        self.id = number
        self.kind = kind
        self.source = source
        self.pool = pool
        self.started_by = started_by
        self.owner = owner
        self.state = JobState.QUEUED
        self.error = ""
        """The name of the error, without its prefix; empty unless it failed or was cancelled."""
        self.message = ""
        self.result: object | None = None
        self.started_at = 0
        """When it left the queue, in µs since the epoch; 0 while it waits."""
        self.finished_at = 0
        self.report = Progress(
            changed=lambda names: listener.changed(self, names),
            progressed=lambda: listener.progressed(self),
        )
        self.cancel_requested = False
        self._over = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    @property
    def description(self) -> str:
        """The kind and subject of the job, for the middle of a sentence."""
        return self.kind.describe(self.source, self.pool)

    @property
    def stage(self) -> Stage:
        """The present stage, or the stage in which it ended."""
        return self.report.stage

    @property
    def progress(self) -> float:
        """The progress from 0 to 1, which never decreases; 1 only when it is done."""
        return self.report.fraction

    @property
    def bytes_done(self) -> int:
        """Compressed bytes that have arrived."""
        return self.report.bytes_done

    @property
    def bytes_total(self) -> int:
        """Compressed bytes of the layers that must be downloaded or built."""
        return self.report.bytes_total

    @property
    def layers_done(self) -> int:
        """Layers that are downloaded or built."""
        return self.report.layers_done

    @property
    def layers_total(self) -> int:
        """Layers that must be downloaded or built."""
        return self.report.layers_total

    @property
    def layers(self) -> tuple[LayerProgress, ...]:
        """The layers whose download or use has begun."""
        return self.report.layers

    def part(self, number: int) -> "Job":
        """Return this job with the figures of one of several pieces of its work.

        Args:
            number: How many there are.
        """
        part = copy.copy(self)
        part.report = self.report.part(number)
        return part

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._over.wait()

    def run_as(self, task: asyncio.Task[object]) -> None:
        """Set the task of the job; for the engine."""
        self._task = task

    def cancel(self) -> None:
        """Request its end. It has ended when ``wait`` returns, and may even be done then."""
        # A second CancelledError would interrupt the clean-up after the first one.
        if not self.cancel_requested and not self.state.is_over:
            self.cancel_requested = True
            assert self._task is not None, "a job has a task from its start"
            self._task.cancel()

    def mark_over(self) -> None:
        """Wake the waiters; for the engine."""
        self._over.set()
