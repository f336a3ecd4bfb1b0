# SPDX-License-Identifier: LGPL-2.1-or-later
"""``org.virtlayer1.Manager``: converts and authorizes calls, and delegates them."""

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from dbus_next.signature import Variant

from virtlayer.dbus import names
from virtlayer.protocol.names import parse_image_name, parse_pool_name, parse_volume_name
from virtlayer.service.bus.authority import Action, Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.departures import Departures
from virtlayer.service.bus.details import details_of
from virtlayer.service.bus.image import ImageObjects
from virtlayer.service.bus.machine_streams import MachineStreams
from virtlayer.service.bus.members import Emits, dbus_property, method, signal
from virtlayer.service.bus.options.images import (
    PopulateOptions,
    PruneOptions,
    PullOptions,
    TagOptions,
)
from virtlayer.service.bus.options.parsing import NoOptions, parse_options
from virtlayer.service.bus.options.source import SourceOptions
from virtlayer.service.bus.options.volumes import CreateVolumeOptions
from virtlayer.service.bus.pull_request import pull_action, pull_request
from virtlayer.service.bus.replacing import authorized_replacing
from virtlayer.service.bus.results import result_variants
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.jobs.turns import Turns
from virtlayer.service.operations.create_volume import (
    CreateVolumeRequest,
    check_size,
    create_volume,
)
from virtlayer.service.operations.describe import describe_volume
from virtlayer.service.operations.disk_usage import disk_usage
from virtlayer.service.operations.inspect import InspectRequest, inspect
from virtlayer.service.operations.list_volumes import list_volumes
from virtlayer.service.operations.populate import PopulateRequest, populate
from virtlayer.service.operations.prune import PruneRequest, prune
from virtlayer.service.operations.pull import pull_image
from virtlayer.service.operations.pull_chain import PullRequest, check_volume_size
from virtlayer.service.operations.remove import RemoveRequest, remove
from virtlayer.service.operations.remove_volume import RemoveVolumeRequest, remove_volume
from virtlayer.service.operations.rescan import RescanRequest, rescan
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.status import status
from virtlayer.service.operations.tag import TagRequest, tag_image
from virtlayer.service.operations.whole_image import WholeImageRequest
from virtlayer.service.source.passed_descriptor import secrets_deadline
from virtlayer.service.source.short_names import resolved_reference
from virtlayer.version import VERSION

_USERS_THAT_INSPECT = 4
"""This number of users can have the maximum number of inspections at the same time."""


class Manager(MachineStreams):
    """The root object."""

    interface = names.MANAGER

    def __init__(
        self,
        services: Services,
        authority: Authority,
        images: ImageObjects,
        departures: Departures,
    ) -> None:
        super().__init__(services, authority, images)
        self._departures = departures
        each = services.settings.quota.inspections
        self._inspections = Turns(_USERS_THAT_INSPECT * each, per_user=each)

    @method(
        "Pull",
        takes={"source": "s", "pool": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def pull(
        self, call: Call, source: str, pool: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that pulls an image into a pool."""
        with contextlib.ExitStack() as belongings:
            given = parse_options(PullOptions, options, call, belongings)
            request = pull_request(await resolved_reference(source), parse_pool_name(pool), given)
            given.check_paths(request.source, session=self._services.session)
            details = details_of(
                given,
                source=str(request.source),
                pool=pool,
                name=request.image_name,
                image=request.image_name,
                **({} if request.volume is None else {"volume": request.volume.name}),
            )
            await self._authority.authorize(call, pull_action(request.source), details)
            if isinstance(request, PullRequest):
                check_volume_size(self._services.settings, request)
                replacing = await authorized_replacing(
                    self._authority,
                    self._services.catalog,
                    call,
                    details,
                    source=str(request.source),
                    replace=given.replace,
                )
                request = dataclasses.replace(request, replacing=replacing)
            if request.volume is not None:
                await self._authority.authorize(call, Action.CREATE_VOLUME, details)
            deadline = secrets_deadline()
            access = await request.access.settled(deadline)
            request = dataclasses.replace(request, access=access)
            if request.volume is not None:
                volume = await request.volume.settled(deadline)
                request = dataclasses.replace(request, volume=volume)
            return await self._jobs.start(
                call,
                Kind.PULL,
                lambda job: self._pull(request, job),
                source=str(request.source),
                pool=pool,
                belongings=belongings,
            )

    @method(
        "CreateVolume",
        takes={"pool": "s", "image": "s", "volume": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def create_volume(
        self, call: Call, pool: str, image: str, volume: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that makes a writable volume on an image."""
        given = parse_options(CreateVolumeOptions, options, call)
        request = CreateVolumeRequest(
            pool=parse_pool_name(pool),
            image=parse_image_name(image),
            volume=given.new_volume(volume, given.size),
        )
        details = details_of(given, pool=pool, image=image, volume=volume)
        await self._authority.authorize(call, Action.CREATE_VOLUME, details)
        await check_size(self._services, request)
        volume_with_secrets = await request.volume.settled(secrets_deadline())
        request = dataclasses.replace(request, volume=volume_with_secrets)
        return await self._jobs.start(
            call,
            Kind.CREATE_VOLUME,
            lambda job: create_volume(self._services, request, job),
            source=image,
            pool=pool,
        )

    @method("Inspect", takes={"source": "s", "options": "a{sv}"}, gives={"image": "a{sv}"})
    async def inspect(
        self, call: Call, source: str, options: Mapping[str, Variant]
    ) -> dict[str, Variant]:
        """Inspect an image at its source."""
        with contextlib.ExitStack() as belongings:
            given = parse_options(SourceOptions, options, call, belongings)
            request = InspectRequest(
                source=await resolved_reference(source),
                platform=given.wanted_platform,
                access=given.access,
            )
            given.check_paths(request.source, session=self._services.session)
            details = details_of(given, source=str(request.source))
            await self._authority.authorize(call, Action.INSPECT, details)
            async with (
                self._departures.ending_with(call.sender),
                self._inspections.slot(await self._authority.uid(call)),
            ):
                access = await request.access.settled(secrets_deadline())
                request = dataclasses.replace(request, access=access)
                return result_variants(await inspect(self._services, request))

    @method("TagImage", takes={"pool": "s", "image": "s", "name": "s", "options": "a{sv}"})
    async def tag_image(
        self, call: Call, pool: str, image: str, name: str, options: Mapping[str, Variant]
    ) -> None:
        """Give an image another name."""
        given = parse_options(TagOptions, options, call)
        request = TagRequest(
            pool=parse_pool_name(pool),
            image=parse_image_name(image),
            name=parse_image_name(name),
            replace=given.replace,
        )
        details = details_of(given, source=image, pool=pool, name=name, image=name)
        await self._authority.authorize(call, Action.PULL, details)
        if given.replace:
            await self._authority.authorize(call, Action.REMOVE, details)
        await tag_image(self._services, request)
        await self._images.refresh()

    @method(
        "RemoveImage",
        takes={"pool": "s", "image": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def remove_image(
        self, call: Call, pool: str, image: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that removes an image."""
        given = parse_options(NoOptions, options, call)
        request = RemoveRequest(pool=parse_pool_name(pool), image=parse_image_name(image))
        details = details_of(given, pool=pool, image=image)
        await self._authority.authorize(call, Action.REMOVE, details)
        return await self._start(
            call,
            Kind.REMOVE,
            lambda job: remove(self._services, request, job),
            source=image,
            pool=pool,
        )

    @method(
        "RemoveVolume",
        takes={"pool": "s", "volume": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def remove_volume(
        self, call: Call, pool: str, volume: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that removes a volume that was made of an image."""
        given = parse_options(NoOptions, options, call)
        request = RemoveVolumeRequest(pool=parse_pool_name(pool), volume=parse_volume_name(volume))
        details = details_of(given, pool=pool, volume=volume)
        await self._authority.authorize(call, Action.REMOVE_VOLUME, details)
        return await self._start(
            call,
            Kind.REMOVE_VOLUME,
            lambda job: remove_volume(self._services, request, job),
            source=volume,
            pool=pool,
        )

    @method("Prune", takes={"pool": "s", "options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def prune(self, call: Call, pool: str, options: Mapping[str, Variant]) -> tuple[int, str]:
        """Start a job that deletes the layers that nothing needs."""
        given = parse_options(PruneOptions, options, call)
        request = PruneRequest(pool=parse_pool_name(pool), dry_run=given.dry_run)
        await self._authority.authorize(call, Action.PRUNE, details_of(given, pool=pool))
        return await self._start(
            call, Kind.PRUNE, lambda job: prune(self._services, request, job), pool=pool
        )

    @method("Populate", takes={"options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def populate(self, call: Call, options: Mapping[str, Variant]) -> tuple[int, str]:
        """Start a job that updates the configured images."""
        given = parse_options(PopulateOptions, options, call)
        request = PopulateRequest(due=given.due)
        await self._authority.authorize(call, Action.POPULATE, details_of(given))
        return await self._start(
            call,
            Kind.POPULATE,
            lambda job: populate(self._services, request, job),
            # They belong to the user who configured them, not to the user who pulls them.
            owner=self._services.configuration_owner,
        )

    @method("Rescan", takes={"pool": "s", "options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def rescan(
        self, call: Call, pool: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that updates the records of a pool from its volumes."""
        given = parse_options(NoOptions, options, call)
        request = RescanRequest(pool=parse_pool_name(pool))
        await self._authority.authorize(call, Action.RESCAN, details_of(given, pool=pool))
        return await self._start(
            call, Kind.RESCAN, lambda job: rescan(self._services, request, job), pool=pool
        )

    @method(
        "DescribeVolume",
        takes={"pool": "s", "volume": "s"},
        gives={"description": "a{sv}"},
    )
    async def describe_volume(self, call: Call, pool: str, volume: str) -> dict[str, Variant]:
        """Return the path of a volume, and the image that it is backed by."""
        found = await describe_volume(
            self._services, parse_pool_name(pool), parse_volume_name(volume)
        )
        viewer = await self._authority.viewer(call)
        if not await viewer.sees(
            await self._services.catalog.pullers.of_digest(pool, found.digest)
        ):
            found = dataclasses.replace(found, digest="", config="", access=None)
        return result_variants(found)

    @method("ListConfigured", gives={"images": "aa{sv}"})
    async def list_configured(self, call: Call) -> list[dict[str, Variant]]:
        """List the images that Populate updates, and their status."""
        viewer = await self._authority.viewer(call)
        if not await viewer.sees({self._services.configuration_owner}):
            return []
        return [result_variants(image) for image in await status(self._services)]

    @method("ListJobs", gives={"jobs": "a(uosssd)"})
    async def list_jobs(self, call: Call) -> list[tuple[int, str, str, str, str, float]]:
        """List every job that can be read."""
        viewer = await self._authority.viewer(call)
        listed = []
        for job in self._services.jobs.list():
            source = job.source if await viewer.sees({job.owner}) else ""
            listed.append(
                (
                    job.id,
                    names.job_path(job.id),
                    str(job.kind),
                    str(job.state),
                    source,
                    job.progress,
                )
            )
        return listed

    @method("ListImages", takes={"pool": "s"}, gives={"images": "a(ossss)"}, large=True)
    async def list_images(self, call: Call, pool: str) -> list[tuple[str, str, str, str, str]]:
        """List the images of a pool, or of every pool."""
        if pool:
            pool = parse_pool_name(pool)
        records = self._images.records(pool)
        if pool and not records:
            # Only an error tells a pool without images from one that does not exist.
            await self._services.pools.get(pool)
        await self._images.look(pool)
        viewer = await self._authority.viewer(call)
        listed = []
        for one in records:
            details = (one.source, one.digest) if await viewer.sees(one.pulled_by) else ("", "")
            listed.append((names.image_path(one.id), one.pool, one.name, *details))
        return listed

    @method("ListVolumes", takes={"pool": "s"}, gives={"volumes": "a(sssst)"}, of_pool=True)
    async def list_volumes(self, _call: Call, pool: str) -> list[tuple[str, str, str, str, int]]:
        """List the volumes that virtlayer has made in a pool."""
        return [
            (one.name, str(one.kind), one.image, one.format, one.size)
            for one in await list_volumes(self._services, parse_pool_name(pool))
        ]

    @method("DiskUsage", takes={"pool": "s"}, gives={"usage": "a{sv}"}, of_pool=True)
    async def disk_usage(self, _call: Call, pool: str) -> dict[str, Variant]:
        """Return the space that images and volumes use in a pool, and that prune would free."""
        return result_variants(await disk_usage(self._services, parse_pool_name(pool)))

    @method("ListPools", gives={"pools": "a(ssstt)"})
    async def list_pools(self, _call: Call) -> list[tuple[str, str, str, int, int]]:
        """List the pools of libvirt."""
        return [
            (pool.name, pool.kind, pool.state, pool.capacity, pool.available)
            for pool in sorted(await self._services.pools.states(), key=lambda pool: pool.name)
        ]

    @signal("JobAdded", id="u", job="o")
    def job_added(self, number: int, path: str) -> None:
        """Signal that a job was accepted."""

    @signal("JobFinished", id="u", job="o", result="s", error="s", message="s")
    def job_finished(self, number: int, path: str, result: str, error: str, message: str) -> None:
        """Signal that a job has ended."""

    @signal("JobRemoved", id="u", job="o")
    def job_removed(self, number: int, path: str) -> None:
        """Signal that the object of a job no longer exists."""

    @dbus_property("Version", "s", emits=Emits.CONST)
    def version(self) -> str:
        """The version of the daemon."""
        return VERSION

    @dbus_property("LibvirtUri", "s", emits=Emits.CONST)
    def libvirt_uri(self) -> str:
        """The URI of the libvirt that it uses."""
        return self._services.libvirt_uri

    async def _pull(self, request: PullRequest | WholeImageRequest, job: Job) -> object:
        result = await pull_image(self._services, request, job)
        # Before the job's end is announced: its listeners can look at the image then.
        await self._images.refresh()
        await self._images.look_after_pull(request.pool)
        return result

    async def _start(
        self,
        call: Call,
        kind: Kind,
        operation: Callable[[Job], Awaitable[object]],
        *,
        source: str = "",
        pool: str = "",
        owner: int | None = None,
    ) -> tuple[int, str]:
        """Start a job that may change which images there are."""

        async def run(job: Job) -> object:
            try:
                return await operation(job)
            finally:
                # Before the job's end is announced: its listeners can look at the images.
                await self._images.refresh()

        return await self._jobs.start(call, kind, run, source=source, pool=pool, owner=owner)
