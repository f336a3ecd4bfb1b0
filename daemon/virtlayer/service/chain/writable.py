# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the writable volume of a machine on top of a chain."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from virtlayer.cancellation import first_failure, to_completion
from virtlayer.errors import VolumeExists
from virtlayer.protocol.calls import Placed, Purpose
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.programs import STAGED_OVERLAY
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.qcow2 import Parent, create_overlay, images_in
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.workers.customization import CustomizationRequest


class Recording(Protocol):
    """The part of ``operations.volume_records.VolumeRecording`` that is used here."""

    async def while_registered(self, registering: Coroutine[object, object, Volume]) -> Volume:
        """Record the volume, while libvirt looks for it."""


class Customizer(Protocol):
    """The part of ``layer.customize.session.CustomizationWorker`` that is used here."""

    async def customize(self, request: CustomizationRequest) -> None:
        """Customize a volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableRequest:
    """The volume to build.

    Attributes:
        claim: The claim of the job on the name and on the image, in the pool.
        name: The name of the volume.
        backing: The name of the top volume of the image, in the same pool.
        chain: The names of the image's volumes, base first.
        size: Virtual size in bytes, at least that of ``backing``.
        customization: The changes in it.
        image: The image, for error messages.
    """

    claim: Claim
    name: str
    backing: str
    chain: tuple[str, ...]
    size: int
    customization: Customization
    image: str

    @property
    def pool(self) -> Pool:
        """The pool of the volume."""
        return self.claim.pool


async def build_writable(
    keeper: Keeper,
    request: WritableRequest,
    customizer: Customizer,
    recording: Recording,
    *,
    check: Callable[[], Coroutine[object, object, None]],
    on_registering: Callable[[], None],
) -> Volume:
    """Build and register a volume; if this fails or is cancelled, nothing is left.

    Args:
        keeper: The process that has access to the pool.
        request: The volume to build.
        customizer: Used only if there are changes.
        recording: Records the volume.
        check: Called while the volume is written; its exceptions end the build.
        on_registering: Called when only the registration is left.

    Raises:
        VolumeExists: Another file with that name was created meanwhile.
        NoSpace: The pool, or the file system, is full.
        InvalidArgument: The image does not allow the changes.
        VirtlayerError: libvirt or a program failed.
    """
    ours: list[Placed] = []
    staging = None
    try:
        async with keeper.staging(request.claim, Purpose.VOLUME) as staging:
            try:
                async with asyncio.TaskGroup() as group:
                    writing = group.create_task(_write(keeper, request, staging, customizer))
                    group.create_task(check())
            except BaseExceptionGroup as errors:
                raise first_failure(errors) from errors
            on_registering()
            placed = await to_completion(_place(request, staging, writing.result(), ours))
            # At the very beginning, so that libvirt need not list the directory.
            staging.let_go()
            registering = staging.register_volume(placed, backing=request.backing)
            return await recording.while_registered(registering)
    except BaseException:
        for placed in ours:
            assert staging is not None
            await staging.withdraw(placed)
        raise


async def _write(
    keeper: Keeper, request: WritableRequest, staging: Staging, customizer: Customizer
) -> str:
    async with explained(keeper.pools, request.pool, f'the volume "{request.name}"'):
        if request.customization:
            staged = await _customized(request, staging, customizer)
            await staging.flush(staged)
            return staged
        await create_overlay(staging, request.size, request.backing)
        return STAGED_OVERLAY


async def _customized(request: WritableRequest, staging: Staging, customizer: Customizer) -> str:
    """Make and customize the volume; return its name in the staging directory."""
    async with images_in(staging) as images:
        parent = Parent(request.backing, await staging.link(request.chain))
        image = await images.create(request.size, parent)
        async with images.exported(image) as connect:
            with await connect() as nbd:
                await customizer.customize(
                    CustomizationRequest(
                        nbd=nbd,
                        customization=request.customization,
                        description=f'The image "{request.image}"',
                    )
                )
        await images.finish(image)
        return image.name


async def _place(
    request: WritableRequest, staging: Staging, staged: str, ours: list[Placed]
) -> Placed:
    """Place and record the file: a cancellation may leave no time to return it."""
    placed = await staging.place(staged, request.name)
    if not placed.ours:
        raise VolumeExists(
            f'Another volume "{request.name}" was created in the pool "{request.pool.name}" during '
            "the job. Choose another name, or delete that volume."
        )
    ours.append(placed)
    return placed
