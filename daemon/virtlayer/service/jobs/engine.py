# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine: accepts jobs, runs a few at a time, and keeps finished jobs for some time."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from virtlayer import journal
from virtlayer.errors import Busy, Cancelled, Internal, NoSuchJob, VirtlayerError
from virtlayer.service.jobs.job import Job, JobListener, JobState
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.jobs.turns import Turns
from virtlayer.settings import JobSettings

_log = logging.getLogger(__name__)

_CONTROLS_LIMIT = 16
"""Jobs that control machines and run at the same time. They do not wait for pulls."""
_ENDINGS = {
    JobState.DONE: "is done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
}
"""The text in the journal for each state in which a job ends."""

type Operation = Callable[[Job], Awaitable[object]]


class Jobs:
    """The jobs of this process. One event loop owns it; it is not thread-safe.

    Args:
        settings: How many jobs run, and how long finished jobs are kept.
        queue_limit: How many jobs of one user may be in the queue.
        unlimited: The uids that may have any number of jobs in the queue.
    """

    def __init__(
        self,
        settings: JobSettings,
        *,
        queue_limit: int,
        unlimited: frozenset[int] = frozenset(),
    ) -> None:
        self._settings = settings
        self._queue_limit = queue_limit
        self._unlimited = unlimited
        self._turns = Turns(settings.running_limit)
        self._turns_of_controls = Turns(_CONTROLS_LIMIT)
        self._jobs: dict[int, Job] = {}
        self._finished: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._audience = _Audience()
        self._last_number = 0
        self._closing = False

    def subscribe(self, listener: JobListener) -> None:
        """Report every job to this listener from now on."""
        self._audience.listeners.append(listener)

    def start(
        self,
        kind: Kind,
        *,
        source: str,
        pool: str,
        started_by: int,
        operation: Operation,
        owner: int | None = None,
        belongings: contextlib.ExitStack | None = None,
    ) -> Job:
        """Accept a job.

        Args:
            kind: The kind of the job.
            source: The image that it is about.
            pool: The name of the pool.
            started_by: The uid of the caller.
            operation: The function to run; it returns the job's result.
            owner: The uid of the owner of the images; None for the caller's.
            belongings: Resources of this job alone. They are closed when the job has ended, whether
                it ran or not, and when it is not accepted.

        Raises:
            Busy: The caller has too many jobs in the queue.
            Cancelled: The service is stopping.
        """
        try:
            self._check_acceptable(kind.describe(source, pool), started_by)
        except VirtlayerError:
            if belongings is not None:
                belongings.close()
            raise
        self._last_number += 1
        job = Job(
            self._last_number,
            kind=kind,
            source=source,
            pool=pool,
            started_by=started_by,
            owner=started_by if owner is None else owner,
            listener=self._audience,
        )
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(job, operation), name=f"job {job.id}")
        job.run_as(task)
        self._tasks.add(task)
        # A task that is cancelled before its first step never enters _run: the end of a job is
        # recorded from outside.
        task.add_done_callback(lambda task: self._end(job, task, belongings))
        _log.info(
            "Job %d was started by UID %d: %s.",
            job.id,
            started_by,
            job.description,
            extra=_fields(job, journal.JOB_STARTED),
        )
        self._audience.added(job)
        return job

    def get(self, number: int) -> Job:
        """Return the job of this id.

        Raises:
            NoSuchJob: There is no such job, or it ended so long ago that it is no longer kept.
        """
        try:
            return self._jobs[number]
        except KeyError:
            raise NoSuchJob(
                f'No job {number}. Finished jobs are only listed for some time; see "virtlayer '
                'jobs".'
            ) from None

    def list(self) -> tuple[Job, ...]:
        """Return every job that is readable, oldest first."""
        return tuple(self._jobs.values())

    @property
    def unfinished(self) -> int:
        """The number of jobs that run or wait."""
        return len(self._tasks)

    async def cancel(self, number: int) -> None:
        """Cancel a job, and wait until it has ended and cleaned up.

        Raises:
            NoSuchJob: There is no such job, it has ended, or it was done before it could be
                cancelled.
        """
        job = self.get(number)
        if not job.state.is_over:
            job.cancel()
            await job.wait()
            if job.state is JobState.CANCELLED:
                return
        raise NoSuchJob(f"Job {number} cannot be cancelled: it has already ended ({job.state}).")

    async def close(self, patience: float) -> bool:
        """Stop accepting jobs, cancel every job, and wait for their ends.

        Args:
            patience: The time to wait, in seconds.

        Returns:
            Whether all of them ended in that time.
        """
        self._closing = True
        for job in self.list():
            job.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for job in self.list():
                    await job.wait()
        for timer in self._finished.values():
            timer.cancel()
        return not self._tasks

    def _check_acceptable(self, description: str, uid: int) -> None:
        if self._closing:
            raise Cancelled(f"The {description} was not started: the service is stopping.")
        if uid in self._unlimited:
            return
        queued = sum(
            job.started_by == uid and job.state is JobState.QUEUED for job in self._jobs.values()
        )
        if queued >= self._queue_limit:
            raise Busy(
                f"Your limit of {queued} queued jobs is reached (quota.queued-jobs in "
                "virtlayerd.toml). Cancel some of them, or try again later."
            )

    async def _run(self, job: Job, operation: Operation) -> object:
        turns = self._turns_of_controls if job.kind.controls_machine else self._turns
        async with turns.slot(job.started_by):
            job.state = JobState.RUNNING
            job.started_at = _now()
            self._audience.changed(job, frozenset({"state", "started_at"}))
            return await operation(job)

    def _end(
        self, job: Job, task: asyncio.Task[object], belongings: contextlib.ExitStack | None
    ) -> None:
        self._tasks.discard(task)
        if belongings is not None:
            belongings.close()
        failure = None if task.cancelled() else task.exception()
        if task.cancelled() or (failure is not None and job.cancel_requested):
            # A program that is killed because its job is cancelled is not an error.
            _fail(job, JobState.CANCELLED, Cancelled(f"Job {job.id} was cancelled."))
        elif isinstance(failure, VirtlayerError):
            _fail(job, JobState.FAILED, failure)
        elif failure is not None:
            _log.error(
                "Job %d had an internal error: %s.",
                job.id,
                job.description,
                exc_info=failure,
                extra=_fields(job),
            )
            _fail(job, JobState.FAILED, defect(f"job {job.id} ({job.description})"))
        else:
            job.result = task.result()
            job.state = JobState.DONE
        job.finished_at = _now()
        self._remember(job)
        self._announce(job)
        job.mark_over()

    def _announce(self, job: Job) -> None:
        _log.info(
            "Job %d %s: %s.%s",
            job.id,
            _ENDINGS[job.state],
            job.description,
            f" {job.error}: {job.message}" if job.state is JobState.FAILED else "",
            extra=_fields(job, journal.JOB_ENDED),
        )
        job.report.finish(success=job.state is JobState.DONE)
        self._audience.changed(
            job, frozenset({"state", "error", "message", "result", "finished_at"})
        )
        self._audience.finished(job)

    def _remember(self, job: Job) -> None:
        # Before it is one of them: its caller has yet to be told that it has ended.
        while len(self._finished) >= max(self._settings.keep_number, 1):
            self._forget(self._jobs[self._most_expendable(job)])
        # The loop's clock is monotonic: setting the host's clock removes no job early.
        self._finished[job.id] = asyncio.get_running_loop().call_later(
            self._settings.keep_seconds, self._forget, job
        )

    def _most_expendable(self, new: Job) -> int:
        """Return the oldest kept job of the user who has most: other users keep theirs.

        A failed job is returned only if no other job of that user is kept.

        Args:
            new: A job that has just ended; it counts for its user, but is not returned.
        """
        numbers = Counter(self._jobs[number].started_by for number in self._finished)
        numbers[new.started_by] += 1
        [(uid, _)] = numbers.most_common(1)
        jobs = [self._jobs[one] for one in self._finished if self._jobs[one].started_by == uid]
        return min(jobs, key=lambda job: job.state is JobState.FAILED).id

    def _forget(self, job: Job) -> None:
        self._finished.pop(job.id).cancel()
        del self._jobs[job.id]
        self._audience.removed(job)


class _Audience:
    """All listeners as one. An error in a listener does not affect the job."""

    def __init__(self) -> None:
        self.listeners: list[JobListener] = []

    def added(self, job: Job) -> None:
        self._tell(lambda listener: listener.added(job))

    def changed(self, job: Job, names: frozenset[str]) -> None:
        self._tell(lambda listener: listener.changed(job, names))

    def progressed(self, job: Job) -> None:
        self._tell(lambda listener: listener.progressed(job))

    def finished(self, job: Job) -> None:
        self._tell(lambda listener: listener.finished(job))

    def removed(self, job: Job) -> None:
        self._tell(lambda listener: listener.removed(job))

    def _tell(self, tell: Callable[[JobListener], None]) -> None:
        for listener in self.listeners:
            try:
                tell(listener)
            except Exception:  # any error of a listener: the job goes on
                _log.exception("A listener to jobs had an internal error.")


def defect(place: str) -> Internal:
    """Return the error that a caller gets for an unexpected exception."""
    return Internal(f"Internal error of virtlayerd in {place}. Its journal has the details.")


def _fail(job: Job, state: JobState, error: VirtlayerError) -> None:
    job.error = error.name
    job.message = error.message
    job.state = state


def _fields(job: Job, message_id: str | None = None) -> dict[str, object]:
    return journal.fields(
        message_id,
        job=job.id,
        kind=job.kind,
        description=job.description,
        source=job.source,
        pool=job.pool,
        caller_uid=job.started_by,
        state=job.state,
        error=job.error,
    )


def _now() -> int:
    return time.time_ns() // 1000
