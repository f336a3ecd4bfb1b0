# SPDX-License-Identifier: LGPL-2.1-or-later
"""Building the volume on top of a chain that a machine writes to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from virtlayer.cancellation import to_completion
from virtlayer.errors import VolumeExists
from virtlayer.keeper.commit import (
    FlushedFile,
    Placed,
    flush_volume,
    place_volume,
    register_volume,
    withdraw_volume,
)
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.staging import StagingDirectory, link_chain, staging_directory
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.qcow2 import Parent, create_overlay, images_in
from virtlayer.service.workers.customization import CustomizationRequest

_MODE = 0o600
"""For its owner alone: root, whom libvirt exchanges for QEMU's user while a machine runs, or in
session mode the user, who is QEMU's user as well. What is in it may be secret."""
_STAGED = "volume.qcow2"
"""Its name until it has its own, which may be anything."""


class Customizer(Protocol):
    """The part of ``layer.customize.session.CustomizationWorker`` that is used here."""

    async def customize(self, request: CustomizationRequest) -> None:
        """Change what is in a volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableRequest:
    """What is to be there in the end.

    Attributes:
        pool: Where.
        name: Under which name.
        backing: The top volume of the image, in the same pool.
        chain: The names of the image's volumes, base first.
        size: Virtual size in bytes, at least that of ``backing``.
        customization: What is changed in it.
        image: The image, for error messages.
        job_id: For the name of the staging directory.
    """

    pool: Pool
    name: str
    backing: Volume
    chain: tuple[str, ...]
    size: int
    customization: Customization
    image: str
    job_id: int


async def build_writable(
    pools: Pools,
    request: WritableRequest,
    customizer: Customizer,
    *,
    on_registering: Callable[[], None],
) -> Volume:
    """Build a volume and register it; when this fails or is cancelled, nothing is left.

    Args:
        pools: The pools of the connection.
        request: What to build.
        customizer: Asked only if there is something to change.
        on_registering: Called when all that is left to do is to register it.

    Raises:
        VolumeExists: A file came under that name meanwhile.
        NoSpace: The pool, or the file system, is full.
        InvalidArgument: The image does not allow the changes.
        VirtlayerError: libvirt fails, or a program.
    """
    pool = request.pool
    ours: list[Placed] = []
    try:
        async with staging_directory(pools, pool, request.job_id) as staging:
            with await _write(pools, request, staging, customizer) as flushed:
                on_registering()
                placed = await to_completion(_place(request, flushed, ours))
        # The directory has gone: what libvirt lists now, it need not forget again.
        return await register_volume(pools, pool, placed, expected_backing=request.backing.path)
    except asyncio.CancelledError:
        for placed in ours:
            await withdraw_volume(pools, pool, placed)
        raise


async def _write(
    pools: Pools, request: WritableRequest, staging: StagingDirectory, customizer: Customizer
) -> FlushedFile:
    async with explained(pools, request.pool, f"the volume “{request.name}”"):
        if request.customization:
            name = await _customized(request, staging, customizer)
        else:
            name = _STAGED
            await create_overlay(staging.descriptor, name, request.size, request.backing.name)
        return await flush_volume(request.pool, staging, name, mode=_MODE)


async def _customized(
    request: WritableRequest, staging: StagingDirectory, customizer: Customizer
) -> str:
    """Make the volume and change what is in it; return its name in the staging directory."""
    async with images_in(staging.descriptor) as images:
        backing = await asyncio.to_thread(link_chain, staging, request.chain)
        parent = Parent(request.backing.name, backing)
        image = await images.create(request.size, parent)
        async with images.exported(image) as connect:
            with await connect() as nbd:
                await customizer.customize(
                    CustomizationRequest(
                        nbd=nbd,
                        customization=request.customization,
                        description=f"The image “{request.image}”",
                    )
                )
        await images.finish(image)
        return image.name


async def _place(request: WritableRequest, flushed: FlushedFile, ours: list[Placed]) -> Placed:
    """Place the file, and note it: a cancellation may leave no time to return it."""
    placed = await place_volume(request.pool, flushed, request.name)
    if not placed.ours:
        raise VolumeExists(
            f"Another volume “{request.name}” came into the pool “{request.pool.name}” meanwhile. "
            "Take another name, or delete it."
        )
    ours.append(placed)
    return placed
