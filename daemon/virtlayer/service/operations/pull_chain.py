# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls an image into a pool: builds missing volumes and records the image.

Most pulls find that nothing has changed, and only wait for skopeo, the registry and libvirt. So
skopeo starts while the pool is looked up. The volumes of the last pull are looked for in the pool
while the registry is asked for the present manifest. An image that is not in the catalog most
likely has layers to apply, so the layer worker starts at the same time, too.
"""

import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from virtlayer import journal
from virtlayer.cancellation import meanwhile
from virtlayer.errors import VirtlayerError
from virtlayer.protocol.names import ImageName, PoolName
from virtlayer.protocol.pools import Volume
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.catalog.replacing import Replacing, check_replacing
from virtlayer.service.chain.kinds import plan_for
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.chain.presence import whole_chain
from virtlayer.service.chain.request import BuildTools, BuiltChain, ChainRequest, LayerTaken
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.operations.applier import WorkerOnDemand
from virtlayer.service.operations.belonging import Belonging, belonging_of
from virtlayer.service.operations.image_records import put_image
from virtlayer.service.operations.layer_records import record_layer
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.outcome import Outcome, is_built_again, outcome_of
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.sharing import SharedPlanning
from virtlayer.service.operations.volume_on_image import check_name_is_free, create_on
from virtlayer.service.records.values import ImageLayer, PulledImage
from virtlayer.service.source.access import Access
from virtlayer.service.source.container_disk import says_container_disk
from virtlayer.service.source.image import Image, Layer
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.policy import PolicyScope
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.skopeo import BlobStream, OpenImage, Source, started_source
from virtlayer.settings import Settings
from virtlayer.sizes import check_virtual_size

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A request to pull an image.

    Attributes:
        source: The image.
        pool: The name of the pool.
        name: The name of the image in the pool; None for a name from the source.
        platform: The platform of the image; None for this host's.
        access: Credentials and trust.
        cache: Whether downloaded blobs are kept.
        size: Virtual size of the volumes in bytes; None for the size in the settings.
        keep: How many former versions of the name are kept; None to keep those that are kept now,
            and not the one that this pull may replace.
        volume: A writable volume to be made on the image; None for none.
        replacing: How much this image may replace.

    Raises:
        InvalidArgument: The size is invalid.
    """

    source: Reference
    pool: PoolName
    name: ImageName | None = None
    platform: Platform | None = None
    access: Access = field(default_factory=Access)
    cache: bool = True
    size: int | None = None
    keep: int | None = None
    volume: NewVolume | None = None
    replacing: Replacing = Replacing.VERSIONS

    @property
    def image_name(self) -> ImageName:
        """The name of the image in the pool."""
        return self.source.short_name if self.name is None else self.name

    def __post_init__(self) -> None:
        if self.size is not None:
            check_virtual_size('option "size"', self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """The result of a pull.

    Attributes:
        outcome: The change by the pull.
        digest: The digest of the image's manifest.
        image: Its number in the catalog.
        name: Its name in the pool.
        volume: The requested volume; the image's top volume if none was requested.
        path: The path of that volume.
        volume_created: Whether that is a new writable volume.
        volumes: The names of the image's volumes, base first.
        layers_built: How many layers this job has built.
        layers_reused: How many layers the pool had.
        bytes_downloaded: Compressed bytes that came from the source.
        platform: The platform of the image.
        container_disk: Whether the image carries a machine's disk, by its config or by the layers
            that this job has built.
    """

    outcome: Outcome
    digest: str
    image: int
    name: str
    volume: str
    path: Path
    volume_created: bool
    volumes: tuple[str, ...]
    layers_built: int
    layers_reused: int
    bytes_downloaded: int
    platform: Platform
    container_disk: bool


async def pull(
    services: Services, request: PullRequest, job: Job, *, records_since: float = math.inf
) -> PullResult:
    """Pull an image into a pool. Layers that the pool has are neither downloaded nor built.

    Layers with other owners are downloaded nevertheless, but not built (``belonging``).

    Args:
        services: The daemon's parts.
        request: The image and the pool.
        job: The job.
        records_since: How old the knowledge of the pool's records may be; see
            ``PoolRecords.synchronize``.

    Raises:
        VirtlayerError: It failed; the class says why. Finished volumes and blobs are kept.
    """
    return await _Pull(services, request, job, records_since).run()


def check_volume_size(settings: Settings, request: PullRequest) -> None:
    """Check the requested size of the volume against that of the image.

    Raises:
        InvalidArgument: The requested size is smaller.
    """
    if request.volume is not None:
        image_size = request.size or settings.storage.virtual_size
        _ = request.volume.size_on(image_size, str(request.source))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The state of the pool, which is determined while skopeo starts.

    Attributes:
        claim: The claim of the job on the volumes of the image that has the name now.
        former: The volumes among these that exist.
        before: The image that has the name in the catalog; None if there is none.
    """

    claim: Claim
    former: Awaitable[Mapping[str, Volume]]
    before: CatalogImage | None


class _Pull:
    def __init__(
        self, services: Services, request: PullRequest, job: Job, records_since: float
    ) -> None:
        self._services = services
        self._records_since = records_since
        self._request = request
        self._job = job
        self._name = request.image_name
        self._size = request.size or services.settings.storage.virtual_size
        self._downloaded: set[Layer] = set()
        self._digest = ""
        self._policy: PolicyScope | None = None

    async def run(self) -> PullResult:
        async with (
            contextlib.AsyncExitStack() as life,
            meanwhile(self._prepare(life)) as preparing,
            self._source(preparing) as source,
        ):
            # The cheap check first: without the pool, the registry need not be asked.
            prepared = await preparing
            async with WorkerOnDemand(
                self._services.keeper.programs, self._services.settings.layer
            ) as worker:
                if prepared.before is None:
                    worker.prepare()
                belonging = belonging_of(
                    self._services, source.obtained, self._job, prepared.claim.pool.name
                )
                opened = await source.open(belonging.known_config)
                await belonging.opened(opened.image)
                return await self._pull_opened(prepared, opened, belonging, worker)

    async def _prepare(self, life: contextlib.AsyncExitStack) -> _Prepared:
        """Claim and look for the present volumes of the name, while skopeo starts.

        Args:
            life: Ends the claim.
        """
        request, services = self._request, self._services
        pool = await services.pools.get(request.pool)
        await services.sweeper.visit(pool)
        if request.volume is not None:
            await check_name_is_free(services, pool, request.volume.name)
        await services.records.synchronize(pool, since=self._records_since)
        record = await services.catalog.get(pool.name, self._name)
        names = () if record is None else record.volumes
        claiming = services.claims.claimed(pool, names)
        claim = await life.enter_async_context(claiming)
        looking = meanwhile(services.pools.volumes(pool, names))
        return _Prepared(claim, await life.enter_async_context(looking), record)

    @contextlib.asynccontextmanager
    async def _source(self, usable: Awaitable[_Prepared]) -> AsyncIterator[Source]:
        """Start the source; an error of the pool is reported before an error of the source."""
        request, services = self._request, self._services
        async with contextlib.AsyncExitStack() as life:
            try:
                source = await life.enter_async_context(
                    started_source(
                        request.source,
                        request.access,
                        request.platform,
                        services.workspace,
                    )
                )
            except VirtlayerError:
                await usable
                raise
            yield source

    async def _pull_opened(
        self, prepared: _Prepared, source: OpenImage, belonging: Belonging, worker: WorkerOnDemand
    ) -> PullResult:
        request, services, image = self._request, self._services, source.image
        claim, pool = prepared.claim, prepared.claim.pool
        self._digest, self._policy = image.digest, source.policy
        _log.info(
            "Job %d pulls %s, whose digest is %s.",
            self._job.id,
            request.source,
            self._digest,
            extra=self._fields(),
        )
        plan = plan_for(pool, services.settings.storage, image.layers, self._size)
        chain = whole_chain(plan, await prepared.former, pool, self._size)
        if chain is None:
            # Before they are looked for.
            await claim.add(_names(plan))
            planning = SharedPlanning(services, belonging, claim, self._size)
            plan = await planning.plan(image.layers)
            await claim.add(_names(plan))
            await services.records.synchronize_layers(claim, _names(plan))
        if chain is None or await belonging.unproven(plan):
            await self._check_replacing(plan, image)
            chain = await self._built(claim, plan, source, belonging, worker)
            await self._record_owners(claim, plan, belonging)
        else:
            self._job.report.set_total(0, 0)
        source.let_go()
        self._job.report.set_stage(Stage.REGISTERING)
        record = await put_image(
            services,
            claim,
            self._image(plan, image),
            await belonging.owners(image.image_id),
            request.replacing,
            keep=request.keep,
        )
        if is_built_again(prepared.before, record):
            _log.info(
                "Job %d has built layers of %s again: those it had were made by another version of "
                "virtlayer or with other settings. They stay until nothing uses them and Prune "
                "deletes them.",
                self._job.id,
                record.name,
                extra=self._fields(),
            )
        made = chain.volumes[-1]
        if request.volume is not None:
            made = await create_on(services, claim, record, request.volume, self._job)
        return PullResult(
            outcome=outcome_of(prepared.before, record, layers_built=chain.layers_built),
            digest=image.digest,
            image=record.id,
            name=record.name,
            volume=made.name,
            path=made.path,
            volume_created=request.volume is not None,
            volumes=tuple(volume.name for volume in chain.volumes),
            layers_built=chain.layers_built,
            layers_reused=chain.layers_reused,
            bytes_downloaded=sum(layer.size for layer in self._downloaded),
            platform=image.platform,
            container_disk=worker.found_disk or says_container_disk(image.config.raw),
        )

    async def _built(
        self,
        claim: Claim,
        plan: tuple[PlannedVolume, ...],
        source: OpenImage,
        belonging: Belonging,
        worker: WorkerOnDemand,
    ) -> BuiltChain:
        try:
            return await self._build(claim, plan, source, belonging, worker)
        except LayerTaken:
            # Each attempt finds at least one layer more, and their number is limited.
            settings = self._services.settings.layer
            async with WorkerOnDemand(self._services.keeper.programs, settings) as another:
                chain = await self._built(claim, plan, source, belonging, another)
                worker.found_disk |= another.found_disk
                return chain

    async def _build(
        self,
        claim: Claim,
        plan: tuple[PlannedVolume, ...],
        source: OpenImage,
        belonging: Belonging,
        worker: WorkerOnDemand,
    ) -> BuiltChain:
        def download(layer: Layer) -> AbstractAsyncContextManager[BlobStream]:
            self._downloaded.add(layer)
            return source.blob(layer)

        def fetch(layer: Layer) -> AbstractAsyncContextManager[GrowingBlob]:
            worker.prepare()
            return self._services.cache.fetch(
                layer,
                lambda: download(layer),
                belonging,
                keep=self._request.cache,
                on_bytes=self._job.report.layer(layer.digest, layer.size).add_downloaded,
            )

        return await self._services.chains.build(
            ChainRequest(
                claim=claim,
                plan=plan,
                virtual_size=self._size,
                description=str(self._request.source),
                source=belonging.source,
            ),
            BuildTools(
                fetch=fetch,
                unproven=belonging.unproven,
                applier=worker,
                progress=self._job.report,
                on_stage=lambda stage: self._job.report.set_stage(Stage(stage)),
                on_applied=worker.let_go,
                record=lambda planned: record_layer(
                    *(self._services.records, claim, planned, belonging),
                    identity=worker.identities.get(planned.name),
                ),
                on_placed=self._log_placed,
            ),
        )

    async def _record_owners(
        self, claim: Claim, plan: Iterable[PlannedVolume], belonging: Belonging
    ) -> None:
        """Record the owners of layers that the pool had, and that were downloaded nevertheless."""
        for planned in plan:
            if not planned.is_recompressed and not self._services.session:
                await record_layer(self._services.records, claim, planned, belonging)

    def _log_placed(self, planned: PlannedVolume) -> None:
        _log.info(
            'Job %d has placed the layer volume %s in the pool "%s".',
            self._job.id,
            planned.name,
            self._request.pool,
            extra=self._fields(volume=planned.name, layer=planned.layers[-1].diff_id),
        )

    def _fields(self, **more: str) -> dict[str, object]:
        return journal.fields(
            job=self._job.id,
            pool=self._request.pool,
            digest=self._digest,
            caller_uid=self._job.started_by,
            **more,
        )

    async def _check_replacing(self, plan: tuple[PlannedVolume, ...], image: Image) -> None:
        """Check early that the name may be used; the final check is in ``_put``."""
        pool = self._request.pool
        present = await self._services.catalog.get(pool, self._name)
        if present is not None:
            check_replacing(pool, present, self._image(plan, image), self._request.replacing)

    def _image(self, plan: tuple[PlannedVolume, ...], image: Image) -> PulledImage:
        assert self._policy is not None, "the image is open"
        return PulledImage(
            name=self._name,
            source=str(self._request.source),
            digest=image.digest,
            image_id=image.image_id,
            os=image.platform.os,
            architecture=image.platform.architecture,
            variant=image.platform.variant or "",
            config=image.config.raw,
            size=self._size,
            layers=tuple(
                ImageLayer(layer.diff_id, planned.name, layer.size)
                for planned in plan
                for layer in planned.layers
            ),
            volume=plan[-1].name,
            policy_scope=self._policy.name,
            unsigned_accepted=self._policy.accepts_unsigned,
            pulled_at=time.time_ns() // 1000,
            pulled_by=frozenset({self._job.owner}),
        )


def _names(plan: Iterable[PlannedVolume]) -> list[str]:
    return [planned.name for planned in plan]
