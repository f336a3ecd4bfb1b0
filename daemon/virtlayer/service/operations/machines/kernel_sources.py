# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sources of kernels: images, which are served read-only, and files of the host.

A source lets a sandboxed worker write a kernel or an initrd, and makes a boot volume of it.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.programs import STAGED_DISK
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.chain.explain import explained
from virtlayer.service.chain.images import Connect
from virtlayer.service.chain.kinds import images_in
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.machines.host_files import KernelFiles
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.wholeness import check_whole
from virtlayer.service.workers.kernel import (
    HostKernelWorker,
    ImageKernelWorker,
    Survey,
    WrittenFile,
)

_FORMATS = ("raw", "iso")
"""What libvirt may call a file that is not a disk image."""


type WhenWritten = Callable[[], Awaitable[object]]
"""Awaited when a file is written and checked, before it gets its name."""


class KernelSource(Protocol):
    """A source of kernels; each method returns the name of a volume that the claim has."""

    async def prepare(self) -> None:
        """Start what the other methods share."""

    async def make_kernel(self, version: str, when_written: WhenWritten) -> str:
        """Make the volume of a kernel."""

    async def make_initrd(self, version: str, when_written: WhenWritten, *, own: bool) -> str:
        """Make the volume of our initrd for a kernel, or of the initrd that its image has."""


class ImageSource:
    """The kernels of an image.

    Args:
        services: The daemon's parts.
        claim: The claim of the job, in the pool of the machine.
        image: The image.
        image_claim: A claim on the image, in its pool.
        life: Ends what is started for all methods.
    """

    def __init__(
        self,
        services: Services,
        claim: Claim,
        image: CatalogImage,
        image_claim: Claim,
        life: AsyncExitStack,
    ) -> None:
        self._services = services
        self._claim = claim
        self._image = image
        self._image_claim = image_claim
        self._life = life
        self._connect: Connect | None = None
        self._subject = f'The image "{image.name}"'

    async def prepare(self) -> None:
        """See ``KernelSource``."""
        if self._connect is None:
            pools, pool = self._services.pools, self._image_claim.pool
            top = await pools.volume(pool, self._image.volume)
            await check_whole(pools, self._services.libvirt_uri, pool, self._image, top)
            serving = _served(self._services, self._image_claim, self._image)
            self._connect = await self._life.enter_async_context(serving)

    async def survey(self) -> Survey:
        """Find out what the image has to boot with.

        Raises:
            VirtlayerError: It cannot be read.
        """
        await self.prepare()
        assert self._connect is not None
        async with (
            self._services.keeper.staging(self._claim, Purpose.BOOT) as staging,
            self._started(staging) as worker,
        ):
            with await self._connect() as nbd:
                return await worker.survey(nbd, self._subject)

    async def make_kernel(self, version: str, when_written: WhenWritten) -> str:
        """See ``KernelSource``."""
        return await self._made(ImageKernelWorker.write_kernel, version, when_written)

    async def make_initrd(self, version: str, when_written: WhenWritten, *, own: bool) -> str:
        """See ``KernelSource``."""
        worker = ImageKernelWorker
        write = worker.write_own_initrd if own else worker.write_image_initrd
        return await self._made(write, version, when_written)

    async def _made(
        self,
        write: Callable[..., Awaitable[WrittenFile]],
        version: str,
        when_written: WhenWritten,
    ) -> str:
        async def ask(worker: ImageKernelWorker) -> WrittenFile:
            assert self._connect is not None, "it was prepared"
            with await self._connect() as nbd:
                return await write(worker, nbd, version, self._subject)

        return await _boot_volume(self._services, self._claim, self._started, ask, when_written)

    def _started(self, staging: Staging) -> AbstractAsyncContextManager[ImageKernelWorker]:
        return ImageKernelWorker.started(staging, self._services.settings.layer)


class HostSource:
    """A kernel of the host.

    Args:
        services: The daemon's parts.
        claim: The claim of the job, in the pool of the machine.
        files: The kernel.
    """

    def __init__(self, services: Services, claim: Claim, files: KernelFiles) -> None:
        self._services = services
        self._claim = claim
        self._files = files

    async def prepare(self) -> None:
        """See ``KernelSource``."""

    async def make_kernel(self, version: str, when_written: WhenWritten) -> str:
        """See ``KernelSource``."""
        assert version == self._files.version
        return await self._made(HostKernelWorker.write_kernel, when_written)

    async def make_initrd(self, version: str, when_written: WhenWritten, *, own: bool) -> str:
        """See ``KernelSource``."""
        assert own, "no image has an initrd for it"
        assert version == self._files.version
        return await self._made(HostKernelWorker.write_own_initrd, when_written)

    async def _made(
        self,
        write: Callable[[HostKernelWorker, str], Awaitable[WrittenFile]],
        when_written: WhenWritten,
    ) -> str:
        settings = self._services.settings.layer
        return await _boot_volume(
            self._services,
            self._claim,
            lambda staging: HostKernelWorker.started(staging, settings, self._files.descriptors),
            lambda worker: write(worker, self._files.description),
            when_written,
        )


@contextlib.asynccontextmanager
async def _served(services: Services, claim: Claim, image: CatalogImage) -> AsyncIterator[Connect]:
    """Serve the file system of an image read-only, for as long as the context lasts.

    Args:
        services: The daemon's parts.
        claim: A claim on the image, in its pool.
        image: The image.

    Yields:
        What connects a client to it.

    Raises:
        VirtlayerError: The image is damaged, or its pool cannot be read.
    """
    async with (
        services.keeper.staging(claim, Purpose.VOLUME) as staging,
        images_in(staging) as images,
    ):
        async with explained(services.pools, claim.pool, f'the kernel of "{image.name}"'):
            top = await images.open_existing(await staging.link(image.volumes))
        async with images.exported(top, writable=False) as connect:
            yield connect


async def _boot_volume[W](
    services: Services,
    claim: Claim,
    started: Callable[[Staging], AbstractAsyncContextManager[W]],
    write: Callable[[W], Awaitable[WrittenFile]],
    when_written: WhenWritten,
) -> str:
    """Let a worker write a file, and make a boot volume of it, unless the pool has it.

    The volume is added to the claim before it gets its name, so that no host deletes it.

    Args:
        services: The daemon's parts.
        claim: The claim of the job, in the pool of the volume.
        started: Runs the worker in a staging directory.
        write: Asks the worker.
        when_written: Awaited before the volume gets its name.

    Returns:
        The name of the volume.

    Raises:
        VirtlayerError: The worker refuses, or the volume cannot be made.
    """
    async with (
        services.keeper.staging(claim, Purpose.BOOT) as staging,
        explained(services.pools, claim.pool, "a kernel or an initrd"),
    ):
        async with started(staging) as worker:
            written = await write(worker)
        await claim.add([written.name])
        await staging.flush(STAGED_DISK)
        await when_written()
        placed = await staging.place(STAGED_DISK, written.name)
        await staging.register_volume(placed, backing=None, formats=_FORMATS)
        return written.name
