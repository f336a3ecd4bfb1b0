# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts to build chains without a registry: layers from memory, and counters."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field

from tests.support.images import LayerContent, directory, file, layer
from virtlayer.protocol.pools import Pool
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.chain.build import ChainBuilder
from virtlayer.service.chain.plan import PlannedVolume, plan_chain
from virtlayer.service.chain.request import (
    Applier,
    BuildStage,
    BuildTools,
    BuiltChain,
    ChainRequest,
)
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.source.image import Layer
from virtlayer.service.workers.layer import LayerRequest

SIZE = 64 * 1024**2
"""Virtual size of the volumes, in bytes."""


def described(content: LayerContent) -> Layer:
    """The layer as a manifest would describe it."""
    return Layer(content.digest, content.size, content.media_type, content.diff_id)


def small_layers(number: int, *, first: int = 0) -> list[LayerContent]:
    """Layers with one file each."""
    return [
        layer(directory("etc"), file(f"etc/file-{n:02}", f"layer {n}\n".encode()))
        for n in range(first, first + number)
    ]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chain; see ``ChainRequest``."""

    pool: Pool
    plan: tuple[PlannedVolume, ...]
    virtual_size: int
    source: str


def request_for(
    pool: Pool,
    contents: Iterable[LayerContent],
    *,
    depth_limit: int = 16,
    size: int = SIZE,
    source: str = "",
) -> Wanted:
    """The request for a chain of these layers."""
    plan = plan_chain([described(content) for content in contents], size, depth_limit)
    return Wanted(pool, plan, size, source)


class Chains:
    """Builds chains as jobs do, each with a claim of its own.

    Args:
        keeper: Has the pools.

    Attributes:
        builder: What is tested.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.builder = ChainBuilder(keeper)

    async def build(self, wanted: Wanted, tools: BuildTools) -> BuiltChain:
        """Build a chain."""
        names = [planned.name for planned in wanted.plan]
        async with self._keeper.claims.claimed(wanted.pool, names) as claim:
            request = ChainRequest(
                claim=claim,
                plan=wanted.plan,
                virtual_size=wanted.virtual_size,
                description="docker://registry.example/demo:1",
                source=wanted.source,
            )
            return await self.builder.build(request, tools)


@dataclass
class Store:
    """Blobs in memory, a worker, and a record of what was asked of them.

    ``before_fetch``, ``half_way`` (half of a blob is there) and ``before_apply`` are awaited with
    the digest: a test can wait there, count there, or fail there. ``others`` are digests of blobs
    that the build may reuse only after it has downloaded them.
    """

    contents: Iterable[LayerContent]
    applier: Applier
    before_fetch: Callable[[str], object] = lambda _digest: None
    half_way: Callable[[str], object] = lambda _digest: None
    before_apply: Callable[[str], object] = lambda _diff_id: None
    others: Collection[str] = ()
    fetched: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    lent: int = 0
    stages: list[BuildStage] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)
    bytes_total: int = 0
    layers_total: int = 0
    bytes_downloaded: int = 0
    bytes_applied: int = 0
    layers_done: int = 0
    all_applied: bool = False

    def tools(self) -> BuildTools:
        """The arguments of a build."""
        return BuildTools(
            fetch=self.fetch,
            unproven=self.unproven,
            applier=self,
            progress=self,
            on_stage=self.stages.append,
            on_applied=self.note_applied,
            record=self.record,
            on_placed=lambda planned: self.placed.append(planned.name),
        )

    async def unproven(self, volumes: Iterable[PlannedVolume]) -> tuple[Layer, ...]:
        layers = (layer for volume in volumes for layer in volume.layers)
        return tuple(layer for layer in layers if layer.digest in self.others)

    @contextlib.asynccontextmanager
    async def fetch(self, wanted: Layer) -> AsyncIterator[GrowingBlob]:
        self.fetched.append(wanted.digest)
        await _awaited(self.before_fetch(wanted.digest))
        content = next(item for item in self.contents if item.digest == wanted.digest)

        async def write() -> None:
            half = len(content.blob) // 2
            for start, end in ((0, half), (half, len(content.blob))):
                os.pwrite(stored.fileno(), content.blob[start:end], start)
                self.add_downloaded(end - start)
                growing.grow(end - start)
                if not start:
                    await _awaited(self.half_way(wanted.digest))

        with tempfile.TemporaryFile() as stored:
            self.lent += 1
            try:
                growing = GrowingBlob(stored.fileno())
                async with growing.written(write) as blob:
                    yield blob
            finally:
                self.lent -= 1

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> object:
        self.applied.append(request.diff_id)
        await _awaited(self.before_apply(request.diff_id))
        return await self.applier.apply(request, on_bytes)

    def note_applied(self) -> None:
        """Nothing is left to be applied."""
        self.all_applied = True

    async def record(self, planned: PlannedVolume) -> None:
        self.recorded.append(planned.name)

    def set_total(self, size: int, layers: int) -> None:
        self.bytes_total, self.layers_total = size, layers

    def add_downloaded(self, size: int) -> None:
        self.bytes_downloaded += size

    def add_applied(self, size: int) -> None:
        self.bytes_applied += size

    def layer(self, _digest: str, _size: int) -> "Store":
        return self

    def layer_done(self) -> None:
        self.layers_done += 1


async def _awaited(step: object) -> None:
    if asyncio.iscoroutine(step):
        await step
