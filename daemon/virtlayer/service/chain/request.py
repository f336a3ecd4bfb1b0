# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a build of a chain is asked for, what it works with, and what comes of it."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.blobs.prefetch import Fetch
from virtlayer.service.chain.plan import PlannedVolume
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.source.image import Layer
from virtlayer.service.workers.layer import LayerRequest

type Unproven = Callable[[Iterable[PlannedVolume]], Awaitable[tuple[Layer, ...]]]
"""Tells which layers must be downloaded before volumes that the pool has may be reused."""

type BuildStage = Literal["downloading", "applying", "registering"]


class Applier(Protocol):
    """The part of ``service.workers.layer.LayerWorker`` that is used here."""

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> object:
        """Apply one layer; ``on_bytes`` counts its compressed bytes."""


class ChainLayerProgress(Protocol):
    """The part of ``jobs.progress.LayerProgress`` that is used here."""

    def add_downloaded(self, size: int) -> None:
        """Count compressed bytes that have arrived."""

    def add_applied(self, size: int) -> None:
        """Count compressed bytes that are in their volume."""


class BuildProgress(Protocol):
    """The part of ``jobs.progress.Progress`` that is used here."""

    def set_total(self, size: int, layers: int) -> None:
        """Say how many compressed bytes and layers must be downloaded or built."""

    def layer(self, digest: str, size: int) -> ChainLayerProgress:
        """The figures of one of these layers."""

    def layer_done(self) -> None:
        """Count a layer that is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRequest:
    """What is to be there in the end.

    Attributes:
        plan: From ``plan.plan_chain``.
        virtual_size: What the plan was made for, in bytes.
        description: The image, for error messages.
        claim: That of the job on the volumes of the plan, in that pool.
        source: Where the blobs come from. A job waits for a volume that another one builds only if
            it has the same source: any other may be as slow as somebody likes.
    """

    plan: tuple[PlannedVolume, ...]
    virtual_size: int
    description: str
    claim: Claim
    source: str = ""

    @property
    def pool(self) -> Pool:
        """Where."""
        return self.claim.pool


@dataclass(frozen=True, slots=True)
class BuiltChain:
    """A chain that is in its pool.

    Attributes:
        volumes: Base first.
        layers_built: How many layers this job has built.
        layers_reused: How many were there, or were built by another job meanwhile.
    """

    volumes: tuple[Volume, ...]
    layers_built: int
    layers_reused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTools:
    """What a build works with.

    Attributes:
        fetch: Gets the blobs, and counts their bytes as downloaded.
        unproven: Tells what must be downloaded of volumes that the pool has.
        applier: Puts one layer after another into a volume.
        progress: Told the figures.
        on_stage: Told what the job waits for.
        on_applied: Told when no layer is left to be applied.
        record: Awaited for each new volume, before it is in the pool's directory.
        on_placed: Told of each new volume, when it is there.
    """

    fetch: Fetch
    unproven: Unproven
    applier: Applier
    progress: BuildProgress
    on_stage: Callable[[BuildStage], None]
    on_applied: Callable[[], None]
    record: Callable[[PlannedVolume], Coroutine[object, object, None]]
    on_placed: Callable[[PlannedVolume], None]
