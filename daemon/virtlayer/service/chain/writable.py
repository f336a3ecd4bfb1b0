# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the writable volume of a machine on top of a chain."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from virtlayer.cancellation import first_failure
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.images import Parent
from virtlayer.service.chain.kinds import create_overlay, images_in
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.workers.customization import CustomizationRequest


class Placing(Protocol):
    """The part of ``operations.placing.RecordedPlacing`` that is used here."""

    async def compose(self) -> None:
        """Compose the record of the volume."""

    async def place(
        self, staging: Staging, file: str, *, backing: str, on_placed: Callable[[], None]
    ) -> Volume:
        """Place a flushed file with its record, and register it."""


class Customizer(Protocol):
    """The part of ``layer.customize.session.CustomizationWorker`` that is used here."""

    async def customize(self, request: CustomizationRequest) -> object:
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
    placing: Placing,
    *,
    check: Callable[[], Coroutine[object, object, None]],
    on_registering: Callable[[], None],
) -> Volume:
    """Build and register a volume; if this fails or is cancelled, no unfinished file is left.

    Args:
        keeper: The process that has access to the pool.
        request: The volume to build.
        customizer: Used only if there are changes.
        placing: Places the volume with its record. The caller leaves its context if this fails.
        check: Called while the volume is written; its exceptions end the build.
        on_registering: Called when only the registration is left.

    Raises:
        VolumeExists: Another file with that name was created meanwhile.
        NoSpace: The pool, or the file system, is full.
        InvalidArgument: The image does not allow the changes.
        VirtlayerError: libvirt or a program failed.
    """
    async with keeper.staging(request.claim, Purpose.VOLUME) as staging:
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(_write(keeper, request, staging, customizer))
                group.create_task(check())
                group.create_task(placing.compose())
        except BaseExceptionGroup as errors:
            raise first_failure(errors) from errors
        on_registering()
        # The directory is removed before libvirt looks, so that it need not list the directory.
        return await placing.place(
            staging, writing.result(), backing=request.backing, on_placed=staging.let_go
        )


async def _write(
    keeper: Keeper, request: WritableRequest, staging: Staging, customizer: Customizer
) -> str:
    async with explained(keeper.pools, request.pool, f'the volume "{request.name}"'):
        if request.customization:
            staged = await _customized(request, staging, customizer)
            await staging.flush(staged)
            return staged
        return await create_overlay(staging, request.size, request.backing)


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
