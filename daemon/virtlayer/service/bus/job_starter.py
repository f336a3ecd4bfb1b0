# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts jobs for calls, in the name of the caller."""

import contextlib
from collections.abc import Awaitable, Callable

from virtlayer.dbus import names
from virtlayer.service.bus.authority import Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.kind import Kind


class JobStarter:
    """Starts jobs.

    Args:
        jobs: The engine.
        authority: Knows the users of callers.
    """

    def __init__(self, jobs: Jobs, authority: Authority) -> None:
        self._jobs = jobs
        self._authority = authority

    async def start(
        self,
        call: Call,
        kind: Kind,
        operation: Callable[[Job], Awaitable[object]],
        *,
        source: str = "",
        pool: str = "",
        owner: int | None = None,
        belongings: contextlib.ExitStack | None = None,
    ) -> tuple[int, str]:
        """Start a job.

        Args:
            call: The call that starts it.
            kind: Its kind.
            operation: The function to run; it returns the job's result.
            source: What the job is about; "" for a job about a whole pool.
            pool: The name of the pool; "" for a job in several pools.
            owner: The uid of the owner of the images; None for the caller's.
            belongings: Resources of the job, which are taken out of this stack and closed when the
                job has ended.

        Returns:
            The ID and the path of the job, as the call returns them.

        Raises:
            Busy: The caller has too many jobs in the queue.
            Cancelled: The service is stopping.
        """
        started_by = await self._authority.uid(call)
        job = self._jobs.start(
            kind,
            source=source,
            pool=pool,
            started_by=started_by,
            operation=operation,
            owner=owner,
            belongings=None if belongings is None else belongings.pop_all(),
        )
        return job.id, names.job_path(job.id)
