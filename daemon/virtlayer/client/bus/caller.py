# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calling side of ``org.virtlayer1``: plain Python values in and out, our errors raised."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from dbus_next.message import Message

from virtlayer.cancellation import meanwhile
from virtlayer.client.bus.answers import (
    DiskUsage,
    ImageDetails,
    ImageSize,
    ImageSummary,
    JobDetails,
    JobSummary,
    LayerProgress,
    Outcome,
    PoolSummary,
    Progress,
    StartedJob,
    VolumeSummary,
)
from virtlayer.client.bus.streams import StreamCalls
from virtlayer.client.bus.values import Options, plain_dict
from virtlayer.dbus import names
from virtlayer.errors import ServiceUnavailable


class Client(StreamCalls):
    """A connection to virtlayerd; made with ``connected``."""

    async def pull(self, source: str, pool: str, options: Options) -> StartedJob:
        """Start a pull; ``wait`` reports its progress and end."""
        return await self.start("Pull", "ssa{sv}", source, pool, options=options)

    async def inspect(self, source: str, options: Options) -> dict[str, Any]:
        """Return the daemon's description of an image."""
        reply = await self._manager("Inspect", "sa{sv}", source, options=options)
        return plain_dict(reply.body[0])

    async def list_jobs(self) -> list[JobSummary]:
        """The jobs that the daemon knows, oldest first."""
        reply = await self._manager("ListJobs", "")
        return sorted((JobSummary(*row) for row in reply.body[0]), key=lambda job: job.id)

    async def list_images(self, pool: str) -> list[ImageSummary]:
        """The images in a pool, or in all of them for an empty name."""
        reply = await self._manager("ListImages", "s", pool)
        images = (ImageSummary(*row) for row in reply.body[0])
        return sorted(images, key=lambda image: (image.pool, image.name))

    async def tag(self, pool: str, image: str, name: str, options: Options) -> None:
        """Give an image another name."""
        await self._manager("TagImage", "sssa{sv}", pool, image, name, options=options)

    async def list_pools(self) -> list[PoolSummary]:
        """The pools that libvirt has."""
        reply = await self._manager("ListPools", "")
        return [PoolSummary(*row) for row in reply.body[0]]

    async def list_volumes(self, pool: str) -> list[VolumeSummary]:
        """Return the volumes that virtlayer has made in a pool."""
        reply = await self._manager("ListVolumes", "s", pool)
        return [VolumeSummary(*row) for row in reply.body[0]]

    async def disk_usage(self, pool: str) -> DiskUsage:
        """Return the contents of a pool."""
        found = plain_dict((await self._manager("DiskUsage", "s", pool)).body[0])
        images = {name: ImageSize(own, shared) for name, own, shared in found.pop("images")}
        return DiskUsage(**found, images=images)

    async def list_configured(self) -> list[dict[str, Any]]:
        """Return the images that Populate updates, and their status."""
        reply = await self._manager("ListConfigured", "")
        return [plain_dict(image) for image in reply.body[0]]

    async def describe_volume(self, pool: str, volume: str) -> dict[str, Any]:
        """Return the path of a volume, and the image that it is backed by."""
        return plain_dict((await self._manager("DescribeVolume", "ss", pool, volume)).body[0])

    async def image_config(self, path: str) -> str:
        """The OCI config of an image, JSON."""
        return str((await self._call(path, names.IMAGE, "GetConfig", "")).body[0])

    async def images(self, paths: Sequence[str]) -> list[ImageDetails]:
        """Return the properties of images; images that were removed meanwhile are left out."""
        return [
            ImageDetails.parse(path, found)
            for path, found in await self._all_present(paths, names.IMAGE)
        ]

    async def job(self, identifier: int) -> JobDetails:
        """The properties of a job.

        Raises:
            NoSuchJob: There is no job with this ID.
        """
        path = names.job_path(identifier)
        return JobDetails.parse(path, await self._properties(path, names.JOB))

    async def jobs(self) -> list[JobDetails]:
        """The properties of the jobs that the daemon knows, oldest first."""
        paths = [job.path for job in await self.list_jobs()]
        return [
            JobDetails.parse(path, found)
            for path, found in await self._all_present(paths, names.JOB)
        ]

    async def present_job(self, identifier: int) -> StartedJob:
        """A job that another client may have started, for ``wait``."""
        path = names.job_path(identifier)
        reply = await self._call(path, names.PROPERTIES, "Get", "ss", names.JOB, "Id")
        return StartedJob(identifier, path, reply.sender)

    async def pid(self, owner: str) -> int:
        """The process ID behind a unique name of the bus."""
        reply = await self._call(
            *(names.BUS_PATH, names.BUS_SERVICE, "GetConnectionUnixProcessID", "s", owner),
            destination=names.BUS_SERVICE,
        )
        return int(reply.body[0])

    async def cancel(self, identifier: int) -> None:
        """Ask a job to end.

        Raises:
            NoSuchJob: There is no job with this ID, or it has ended.
        """
        await self._call(names.job_path(identifier), names.JOB, "Cancel", "")

    async def wait(
        self, job: StartedJob, on_progress: Callable[[Progress], None], *, with_layers: bool = False
    ) -> Outcome:
        """Wait for a job that this client started.

        Args:
            job: The result of ``pull``.
            on_progress: Called with the first state and with every step.
            with_layers: Also report the progress of each layer.

        Raises:
            ServiceUnavailable: The daemon stopped before the job had ended.
        """
        steps = 0
        changed = asyncio.Event()

        def note(signal: Message) -> None:
            nonlocal steps
            if (signal.sender, signal.path) == (job.owner, job.path):
                steps += 1
                changed.set()
                # One of another form shows nothing: there is no reply that could fail.
                with contextlib.suppress(TypeError, ValueError):
                    if not with_layers:
                        on_progress(Progress(*signal.body))

        async def show_present() -> None:
            progress = await self._progress(job)
            # The values of a signal that came before the reply are newer.
            if not steps:
                on_progress(progress)

        async def show_layers() -> None:
            while with_layers:
                await changed.wait()
                changed.clear()
                on_progress(await self._progress(job))

        self._bus.on_signal = note
        try:
            async with meanwhile(show_layers()):
                # All at once: a job with nothing to do ends before the first reply.
                _, _, reply = await asyncio.gather(
                    self._receive(names.PROGRESS_RULE),
                    show_present(),
                    self._call(job.path, names.JOB, "Wait", "", destination=job.owner),
                )
        except ServiceUnavailable as error:
            raise ServiceUnavailable(
                f"virtlayerd stopped before job {job.id} finished. Finished layers and blobs are "
                f"kept: run the command again. {self._where_it_logs()}"
            ) from error
        state, failure, message, result = reply.body
        if state != "done" and not message:
            message = f"Job {job.id} ended as {state}. Only managers can see its message."
        return Outcome(state, failure, message, plain_dict(result))

    async def _progress(self, job: StartedJob) -> Progress:
        # By its unique name: otherwise the bus could start another daemon, which does not have the
        # job.
        reply = await self._call(
            job.path, names.PROPERTIES, "GetAll", "s", names.JOB, destination=job.owner
        )
        known = plain_dict(reply.body[0])
        return Progress(
            known["Progress"],
            known["Stage"],
            known["BytesDone"],
            known["BytesTotal"],
            # Private; a daemon may be older.
            tuple(LayerProgress(*layer) for layer in known.get("Layers", ())),
        )
