# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the volumes of a chain that a pool does not have yet.

Volumes are built base first, each on the previous one. Meanwhile the blobs of the next volumes
arrive, and the previous volumes are synced to disk. A finished volume is placed at once, but never
before its backing volume: it is kept if a later one fails. libvirt scans the pool once, for all of
them. Two jobs with the same source that need the same volume in the same pool build it once, also
on different hosts: the second job waits, and then reuses it. If the first job is killed, the second
builds it. With different sources, both build it, and the volume that is placed first is kept. The
other job then builds again what it has built on its own one, if that is a clone (``LayerTaken``).
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from virtlayer.cancellation import first_failure, meanwhile, to_completion
from virtlayer.errors import DigestMismatch, LayerTooLarge, MalformedLayer
from virtlayer.protocol.calls import Placed, Purpose
from virtlayer.protocol.pools import Volume
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.blobs.prefetch import Prefetched, Prefetching
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.identity import build_key
from virtlayer.service.chain.images import Connect, Images, NewImage, Parent
from virtlayer.service.chain.kinds import images_in
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.chain.presence import check_layer, refuse_to_build_recompressed
from virtlayer.service.chain.proof import prove
from virtlayer.service.chain.request import BuildTools, BuiltChain, ChainRequest, LayerTaken
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.source.image import Layer
from virtlayer.service.workers.layer import LayerRequest
from virtlayer.sizes import MIB

_PAUSE = 0.5
"""Seconds between looks at a volume that another process builds."""
_LARGE = 8 * MIB
"""Bytes of blobs from which on the resulting volume counts as large."""
_WRONG_LAYERS = (DigestMismatch, LayerTooLarge, MalformedLayer)
"""Errors of a worker that the right blob would not cause."""


class ChainBuilder:
    """Builds chains in the pools of a keeper, each volume once at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock]
        self._locks = WeakValueDictionary()

    async def build(self, request: ChainRequest, tools: BuildTools) -> BuiltChain:
        """Build the volumes of a chain that its pool does not have.

        If this fails or is cancelled, only finished volumes are kept.

        Raises:
            NoSpace: The pool is full, or a layer does not fit into the virtual size.
            VolumeExists: Another volume has the name of one of the layer volumes.
            VolumeNotFound: A volume that can only be reused does not exist.
            LayerTaken: Build again, with another ``tools.applier``; only in an RBD pool.
            VirtlayerError: ``tools`` or libvirt failed.
        """
        build = _Build(self._keeper, functools.partial(self._lock, request), request, tools)
        try:
            return await build.run()
        except BaseExceptionGroup as group:
            raise first_failure(group) from group

    def _lock(self, request: ChainRequest, volume_id: str) -> asyncio.Lock:
        key = (request.pool.uuid, request.source, volume_id)
        return self._locks.setdefault(key, asyncio.Lock())


@dataclass(slots=True)
class _Turn:
    """The progress of the task of one volume, for the task of the next one.

    Attributes:
        queued: It has its lock, has asked for its blobs, and made an empty overlay. Locks are taken
            base first, which all chains agree on, so no two jobs wait for each other; blobs arrive
            in that order too.
        written: The file is complete, though not on disk: the next volume can be written on it.
        placed: The file is in the pool: the next volume can come there too.
        name: The name of the volume; "" before the first one.
        image: The image that it is written to, once it is queued; None if the pool has it.
    """

    name: str = ""
    image: NewImage | None = None
    queued: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    placed: asyncio.Event = field(default_factory=asyncio.Event)

    def set_all(self) -> None:
        """Mark a volume that the pool already had."""
        for event in (self.queued, self.written, self.placed):
            event.set()


@dataclass(frozen=True, slots=True)
class _Workplace:
    """The staging directory of a build, and its tools."""

    staging: Staging
    images: Images


class _Build:
    """One call of ``ChainBuilder.build``."""

    def __init__(
        self,
        keeper: Keeper,
        lock: Callable[[str], asyncio.Lock],
        request: ChainRequest,
        tools: BuildTools,
    ) -> None:
        self._keeper = keeper
        self._pools = keeper.pools
        self._lock = lock
        self._request = request
        self._pool = request.pool
        self._tools = tools
        self._prefetching = Prefetching(tools.fetch)
        self._reused = 0
        self._found: dict[str, Volume] = {}
        self._placed: dict[Placed, str | None] = {}
        self._staging: Staging | None = None

    async def run(self) -> BuiltChain:
        plan = self._request.plan
        await self._make_missing(plan)
        found = self._found
        if self._placed:
            assert self._staging is not None
            self._tools.on_stage("registering")
            found = found | await self._staging.register_chain(self._placed)
        total = sum(len(planned.layers) for planned in plan)
        volumes = tuple(found[planned.name] for planned in plan)
        return BuiltChain(volumes, total - self._reused, self._reused)

    async def _make_missing(self, plan: Sequence[PlannedVolume]) -> None:
        async with AsyncExitStack() as stack:
            finding = await stack.enter_async_context(meanwhile(self._find(plan)))
            place = None
            if not await self._has_files(plan):
                # While libvirt looks up the volumes.
                place = await self._workplace(stack)
            self._found = await finding
            missing = [planned for planned in plan if planned.name not in self._found]
            refuse_to_build_recompressed(missing, self._request)
            unproven = await self._unproven(plan)
            layers = [*unproven, *(layer for planned in missing for layer in planned.layers)]
            self._tools.progress.set_total(sum(layer.size for layer in layers), len(layers))
            self._reused = sum(len(planned.layers) for planned in plan if planned not in missing)
            # Before volumes are built on them.
            await prove(unproven, self._tools)
            if missing:
                await self._make_all(missing, place or await self._workplace(stack))

    async def _unproven(self, plan: Iterable[PlannedVolume]) -> tuple[Layer, ...]:
        found = [planned for planned in plan if planned.name in self._found]
        return await self._tools.unproven(found)

    async def _has_files(self, plan: Iterable[PlannedVolume]) -> bool:
        names = [planned.name for planned in plan]
        return len(await self._pools.inodes(self._pool, names)) == len(names)

    async def _workplace(self, stack: AsyncExitStack) -> _Workplace:
        staging = await stack.enter_async_context(
            self._keeper.staging(self._request.claim, Purpose.LAYERS)
        )
        self._staging = staging
        async with self._explained():
            images = await stack.enter_async_context(images_in(staging))
            return _Workplace(staging, images)

    async def _make_all(self, missing: Sequence[PlannedVolume], place: _Workplace) -> None:
        async with asyncio.TaskGroup() as group:
            before = _Turn()
            before.set_all()
            for planned in missing:
                turn = _Turn(planned.name)
                is_last = planned is missing[-1]
                group.create_task(self._make(planned, before, turn, place, is_last=is_last))
                before = turn

    async def _make(
        self,
        planned: PlannedVolume,
        before: _Turn,
        turn: _Turn,
        place: _Workplace,
        *,
        is_last: bool,
    ) -> None:
        await before.queued.wait()
        # The lock is for the jobs of this process: only one asks whether another process builds it.
        async with self._lock(planned.volume_id):
            if await self._may_build(planned):
                await self._build(planned, before, turn, place, is_last=is_last)
                return
        # Another job has built it. The lock is released meanwhile: a download may take long.
        unproven = await self._unproven([planned])
        await prove(unproven, self._tools)
        self._count_reused(planned, unproven)
        turn.set_all()

    async def _may_build(self, planned: PlannedVolume) -> bool:
        """Wait while another process builds a volume; False if the pool has it then."""
        while await self._request.claim.try_build([self._key(planned)]):
            if await self._is_there_now(planned):
                return False
            await asyncio.sleep(_PAUSE)
        return not await self._is_there_now(planned)

    def _key(self, planned: PlannedVolume) -> str:
        return build_key(self._request.source, planned.volume_id)

    async def _is_there_now(self, planned: PlannedVolume) -> bool:
        # If there is no file, libvirt need not be asked.
        found = await self._find([planned]) if await self._has_files([planned]) else {}
        self._found |= found
        return bool(found)

    async def _build(
        self,
        planned: PlannedVolume,
        before: _Turn,
        turn: _Turn,
        place: _Workplace,
        *,
        is_last: bool,
    ) -> None:
        images = place.images
        async with asyncio.TaskGroup() as group:
            prefetched = [Prefetched(layer) for layer in planned.layers]
            for fetched in prefetched:
                group.create_task(self._prefetching.hold(fetched))
            # While the previous volumes are still being written.
            async with self._explained():
                parent = await self._parent(planned, before, place.staging)
                large = sum(layer.size for layer in planned.layers) >= _LARGE
                image = await images.create(self._request.virtual_size, parent, large=large)
            turn.image = image
            turn.queued.set()
            await before.written.wait()
            async with self._explained(), images.exported(image) as connect:
                await self._write(planned, prefetched, connect)
        turn.written.set()
        if is_last:
            self._tools.on_applied()
        async with self._explained(), meanwhile(self._tools.record(planned)) as recorded:
            await images.finish(image)
            if is_last:
                # The previous volumes were finished before this one was served: one command at a
                # time.
                images.let_go()
            await images.flush(image)
            await recorded
        await before.placed.wait()
        ours = await to_completion(self._place(planned, place.staging, image.name))
        if not (ours or is_last) and self._pool.is_rbd:
            raise LayerTaken
        turn.placed.set()
        for _ in planned.layers:
            self._tools.progress.layer_done()

    async def _place(self, planned: PlannedVolume, staging: Staging, staged: str) -> bool:
        """Place a volume; False if another job has placed it before."""
        placed = await staging.place(staged, planned.name, build=self._key(planned))
        self._placed[placed] = planned.parent
        self._tools.on_placed(planned)
        return placed.ours

    async def _write(
        self, planned: PlannedVolume, prefetched: Sequence[Prefetched], connect: Connect
    ) -> None:
        with contextlib.ExitStack() as connection:
            for fetched in prefetched:
                async with self._while_downloaded(fetched) as blob:
                    first, last = fetched is prefetched[0], fetched is prefetched[-1]
                    request = LayerRequest(
                        blob=blob,
                        nbd=connection.enter_context(await connect()) if first else None,
                        diff_id=fetched.layer.diff_id,
                        description=f"layer {fetched.layer.digest} of {self._request.description}",
                        format_size=None if planned.parent else self._request.virtual_size,
                        base=planned.parent if first else None,
                        result=planned.name if last else None,
                        last=last,
                    )
                    layer = fetched.layer
                    progress = self._tools.progress.layer(layer.digest, layer.size)
                    await self._tools.applier.apply(request, progress.add_applied)
                fetched.used.set()

    @contextlib.asynccontextmanager
    async def _while_downloaded(self, fetched: Prefetched) -> AsyncIterator[GrowingBlob]:
        """A blob whose layer is applied in the context, which ends when the blob is verified.

        Raises:
            VirtlayerError: The error of the context. If the worker rejects the layer because its
                blob is wrong or incomplete, the error of the blob.
        """
        if not fetched.is_here:
            self._tools.on_stage("downloading")
        async with meanwhile(self._tell_when_here(fetched)):
            blob = await fetched.begun()
            try:
                yield blob
            except _WRONG_LAYERS:
                await fetched.verified()
                raise
            await fetched.verified()

    async def _tell_when_here(self, fetched: Prefetched) -> None:
        await fetched.verified()
        self._tools.on_stage("applying")

    async def _find(self, plan: Iterable[PlannedVolume]) -> dict[str, Volume]:
        volumes = await self._pools.volumes(self._pool, [planned.name for planned in plan])
        for volume in volumes.values():
            check_layer(volume, self._pool, self._request.virtual_size)
        return volumes

    def _count_reused(self, planned: PlannedVolume, proven: Sequence[Layer]) -> None:
        self._reused += len(planned.layers)
        for layer in planned.layers:
            if layer in proven:
                continue
            progress = self._tools.progress.layer(layer.digest, layer.size)
            progress.add_downloaded(layer.size)
            progress.add_applied(layer.size)
            self._tools.progress.layer_done()

    async def _parent(
        self, planned: PlannedVolume, before: _Turn, staging: Staging
    ) -> Parent | None:
        if planned.parent is None:
            return None
        if before.name == planned.parent and before.image is not None:
            return Parent(planned.parent, before.image)
        names = [one.name for one in self._request.plan]
        below = names[: names.index(planned.name)]
        return Parent(planned.parent, await staging.link(below))

    def _explained(self) -> AbstractAsyncContextManager[None]:
        return explained(
            self._pools,
            self._pool,
            self._request.description,
            advice=": the layers that are finished are kept",
        )
