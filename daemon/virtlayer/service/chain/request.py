# SPDX-License-Identifier: LGPL-2.1-or-later
"""The request, tools and result of the build of a chain."""

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
"""Returns the layers that must be downloaded before existing volumes may be reused."""

type BuildStage = Literal["downloading", "applying", "registering"]


class LayerTaken(Exception):
    """Another job has placed the same layer first, and a clone cannot get another parent.

    What this job has built on its own layer is lost. Build again: the layer is there now.
    """


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
        """Set the number of compressed bytes and layers that must be downloaded or built."""

    def layer(self, digest: str, size: int) -> ChainLayerProgress:
        """Return the figures of one of these layers."""

    def layer_done(self) -> None:
        """Count a layer that is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRequest:
    """The chain to build.

    Attributes:
        plan: From ``plan.plan_chain``.
        virtual_size: The virtual size of the plan, in bytes.
        description: The image, for error messages.
        claim: The claim of the job on the volumes of the plan, in their pool.
        source: The source of the blobs. A job waits for a volume that another job builds only if it
            has the same source, because other sources may be slow.
    """

    plan: tuple[PlannedVolume, ...]
    virtual_size: int
    description: str
    claim: Claim
    source: str = ""

    @property
    def pool(self) -> Pool:
        """The pool of the chain."""
        return self.claim.pool


@dataclass(frozen=True, slots=True)
class BuiltChain:
    """A chain that is in its pool.

    Attributes:
        volumes: Base first.
        layers_built: How many layers this job has built.
        layers_reused: How many layers the pool had, or another job has built meanwhile.
    """

    volumes: tuple[Volume, ...]
    layers_built: int
    layers_reused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTools:
    """The tools of a build.

    Attributes:
        fetch: Gets the blobs, and counts their bytes as downloaded.
        unproven: Returns the layers in existing volumes that must be downloaded.
        applier: Puts one layer after another into a volume.
        progress: Receives the figures.
        on_stage: Called with the present stage.
        on_applied: Called when all layers are applied.
        record: Awaited for each new volume, before it is in the pool's directory.
        on_placed: Called for each new volume, after it is placed.
    """

    fetch: Fetch
    unproven: Unproven
    applier: Applier
    progress: BuildProgress
    on_stage: Callable[[BuildStage], None]
    on_applied: Callable[[], None]
    record: Callable[[PlannedVolume], Coroutine[object, object, None]]
    on_placed: Callable[[PlannedVolume], None]
