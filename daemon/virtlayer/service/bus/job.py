# SPDX-License-Identifier: LGPL-2.1-or-later
"""``org.virtlayer1.Job``: one job as an object."""

from collections.abc import Collection

from dbus_next.signature import Variant

from virtlayer.dbus import names
from virtlayer.service.bus.authority import Action, Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.departures import Departures
from virtlayer.service.bus.members import Emits, Interface, dbus_property, method, signal
from virtlayer.service.bus.results import result_variants
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job


def error_name(job: Job) -> str:
    """The D-Bus name of the error that a job ended with, or the empty string."""
    return names.ERROR_PREFIX + job.error if job.error else ""


class JobObject(Interface):
    """A job. The functions of its properties are called like the job's attributes."""

    interface = names.JOB

    def __init__(self, job: Job, jobs: Jobs, authority: Authority, departures: Departures) -> None:
        super().__init__()
        self._job = job
        self._jobs = jobs
        self._authority = authority
        self._departures = departures

    @property
    def owners(self) -> Collection[int]:
        """The owner of its images."""
        return (self._job.owner,)

    @method("Cancel")
    async def cancel(self, call: Call) -> None:
        """Cancel the job; callers need no authorization for their own jobs."""
        if await self._authority.uid(call) != self._job.started_by:
            await self._authority.authorize(
                call,
                Action.CANCEL_OTHERS,
                # Not the source: the prompt shows this to users who may not see the source.
                {
                    "job": str(self._job.id),
                    "kind": self._job.kind,
                    "pool": self._job.pool,
                    "user": str(self._job.started_by),
                },
            )
        await self._jobs.cancel(self._job.id)

    @method(
        "Wait",
        gives={"state": "s", "error": "s", "message": "s", "result": "a{sv}"},
        waits=True,
    )
    async def wait(self, call: Call) -> tuple[str, str, str, dict[str, Variant]]:
        """Wait for the end of the job; its message and result only for permitted callers."""
        # Checked before the wait, while the caller is connected; the reply then needs no polkit.
        viewer = await self._authority.viewer(call)
        is_open = await viewer.sees(self.owners)
        if not self._job.state.is_over:
            # Calls of a user are limited, so a call ends when its caller disconnects.
            async with self._departures.ending_with(call.sender):
                await self._job.wait()
        message, result = (self._job.message, self.result()) if is_open else ("", {})
        return self._job.state, error_name(self._job), message, result

    @signal("ProgressChanged", progress="d", stage="s", done="t", total="t")
    def progress_changed(self, progress: float, stage: str, done: int, total: int) -> None:
        """Signal the progress."""

    @signal("Finished", result="s", error="s", message="s")
    def finished(self, result: str, error: str, message: str) -> None:
        """Signal that it has ended."""

    @dbus_property("Id", "u", emits=Emits.CONST)
    def id(self) -> int:
        """Its ID."""
        return self._job.id

    @dbus_property("Kind", "s", emits=Emits.CONST)
    def kind(self) -> str:
        """Its kind."""
        return self._job.kind

    @dbus_property("Source", "s", emits=Emits.CONST, private=True)
    def source(self) -> str:
        """The image that it is about."""
        return self._job.source

    @dbus_property("Pool", "s", emits=Emits.CONST)
    def pool(self) -> str:
        """The pool."""
        return self._job.pool

    @dbus_property("State", "s")
    def state(self) -> str:
        """Its state."""
        return self._job.state

    @dbus_property("Stage", "s")
    def stage(self) -> str:
        """The present stage."""
        return self._job.stage

    @dbus_property("Progress", "d", emits=Emits.NOTHING)
    def progress(self) -> float:
        """The progress, which ProgressChanged signals."""
        return self._job.progress

    @dbus_property("BytesDone", "t", emits=Emits.NOTHING)
    def bytes_done(self) -> int:
        """The number of bytes that have arrived, which ProgressChanged signals."""
        return self._job.bytes_done

    @dbus_property("BytesTotal", "t")
    def bytes_total(self) -> int:
        """Of how many."""
        return self._job.bytes_total

    @dbus_property("LayersDone", "u")
    def layers_done(self) -> int:
        """The number of layers that are built."""
        return self._job.layers_done

    @dbus_property("LayersTotal", "u")
    def layers_total(self) -> int:
        """Of how many."""
        return self._job.layers_total

    @dbus_property("Layers", "a(sttt)", emits=Emits.NOTHING, private=True, bulky=True)
    def layers(self) -> list[tuple[str, int, int, int]]:
        """The progress of each layer, which ProgressChanged signals."""
        return [
            (layer.digest, layer.downloaded, layer.applied, layer.size)
            for layer in self._job.layers
        ]

    @dbus_property("Error", "s")
    def error(self) -> str:
        """The name of its error."""
        return error_name(self._job)

    @dbus_property("Message", "s", private=True)
    def message(self) -> str:
        """The error message."""
        return self._job.message

    @dbus_property("Result", "a{sv}", private=True, bulky=True)
    def result(self) -> dict[str, Variant]:
        """The result."""
        return result_variants(self._job.result)

    @dbus_property("StartedBy", "u", emits=Emits.CONST)
    def started_by(self) -> int:
        """The uid of the user who started it."""
        return self._job.started_by

    @dbus_property("StartedAt", "t")
    def started_at(self) -> int:
        """When it left the queue."""
        return self._job.started_at

    @dbus_property("FinishedAt", "t")
    def finished_at(self) -> int:
        """When it ended."""
        return self._job.finished_at
