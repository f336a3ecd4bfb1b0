# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service on its bus: the objects, the signals about jobs, and the name."""

import asyncio
import contextlib

from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection
from virtlayer.protocol.domains import KnownDomain, State
from virtlayer.service.bus.authority import Authority, SessionAuthority, SystemAuthority
from virtlayer.service.bus.callers import Callers
from virtlayer.service.bus.departures import Departures
from virtlayer.service.bus.exporter import Exporter
from virtlayer.service.bus.image import ImageObjects
from virtlayer.service.bus.job import JobObject, error_name
from virtlayer.service.bus.manager import Manager
from virtlayer.service.bus.quotas import Quotas
from virtlayer.service.bus.visibility import Visibility
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.services import Services, trusted_uid
from virtlayer.service.operations.wholeness import Wholeness


class Server:
    """The objects of this process on the bus. It is a listener to the jobs.

    Args:
        connection: The bus.
        services: The parts that the operations use.
    """

    def __init__(self, connection: Connection, services: Services) -> None:
        self._connection = connection
        self._services = services
        callers = Callers(connection)
        self._authority: Authority = (
            SessionAuthority(callers) if services.session else SystemAuthority(connection, callers)
        )
        quotas = Quotas(
            callers,
            services.settings.quota,
            exempt=frozenset({trusted_uid(session=services.session)}),
        )
        self._visibility = Visibility(self._authority.viewer, signals_are_private=services.session)
        self._exporter = Exporter(
            connection, names.ROOT, self._authority.admit, quotas, self._visibility
        )
        wholeness = Wholeness(services.pools, services.libvirt_uri)
        self._images = ImageObjects(services.catalog, self._exporter, wholeness)
        self._departures = Departures(connection)
        self._manager = Manager(services, self._authority, self._images, self._departures)
        self._objects: dict[int, JobObject] = {}
        self._refreshes: set[asyncio.Task[None]] = set()

    async def start(self) -> bool:
        """Export the objects and acquire the name.

        Returns:
            False if another process has the name.
        """
        self._exporter.export(names.ROOT, self._manager)
        await self._images.refresh()
        self._services.jobs.subscribe(self)
        self._services.records.subscribe(self)
        self._exporter.listen()
        return await self._connection.own(names.SERVICE)

    async def resume(self) -> bool:
        """Acquire the name again; False if another process has it now."""
        return await self._connection.own(names.SERVICE)

    async def withdraw(self) -> None:
        """Release the name. All calls to the name have begun when this returns."""
        await self._connection.disown(names.SERVICE)

    async def finish(self, patience: float) -> None:
        """Reply to every call that has begun; with an error to calls that take longer than this."""
        await self._exporter.finish(patience)
        await self._images.close()

    def machine_changed(self, machine: KnownDomain, state: State | None) -> None:
        """Signal that a machine has another state."""
        self._manager.domain_changed(machine.name, "removed" if state is None else str(state))

    def records_changed(self, _pool: str) -> None:
        """Update the image objects after a change in a pool."""
        refresh = asyncio.create_task(self._refresh(), name="show changed images")
        self._refreshes.add(refresh)
        refresh.add_done_callback(self._refreshes.discard)

    async def _refresh(self) -> None:
        # Without the bus, there is no client.
        with contextlib.suppress(OSError, EOFError):
            await self._images.refresh()

    @property
    def calls(self) -> int:
        """The number of calls that are being served."""
        return self._exporter.calls

    @property
    def last_call(self) -> float:
        """When the last call was answered, by the clock of the event loop."""
        return self._exporter.last_call

    def added(self, job: Job) -> None:
        """Export a job."""
        shown = JobObject(job, self._services.jobs, self._authority, self._departures)
        self._objects[job.id] = shown
        self._exporter.export(names.job_path(job.id), shown)
        self._manager.job_added(job.id, names.job_path(job.id))

    def changed(self, job: Job, changed: frozenset[str]) -> None:
        """Signal new values of a job's properties."""
        self._objects[job.id].announce(*changed)

    def progressed(self, job: Job) -> None:
        """Signal the progress of a job."""
        self._objects[job.id].progress_changed(
            job.progress, job.stage, job.bytes_done, job.bytes_total
        )

    def finished(self, job: Job) -> None:
        """Signal the end of a job, by its own object and by the manager."""
        # All users get these signals; users with the right read the message from the job.
        message = job.message if self._visibility.signals_are_private else ""
        ending = (str(job.state), error_name(job), message)
        self._objects[job.id].finished(*ending)
        self._manager.job_finished(job.id, names.job_path(job.id), *ending)

    def removed(self, job: Job) -> None:
        """Remove the object of a job."""
        del self._objects[job.id]
        self._exporter.unexport(names.job_path(job.id))
        self._manager.job_removed(job.id, names.job_path(job.id))
