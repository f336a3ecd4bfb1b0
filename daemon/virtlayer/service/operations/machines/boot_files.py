# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds what a machine boots with, and provides the volumes of it: a kernel and an initrd.

What an image or the host has, and the volumes that were made of it, are kept in a record of the
pool. So only the first machine of an image starts workers. A volume that no longer exists is made
again.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.errors import ImageNotFound, InvalidArgument, NoKernel
from virtlayer.protocol.domains import Boot
from virtlayer.protocol.names import ImageName, PoolName, parse_image_name, parse_pool_name
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.machines.host_files import (
    KernelFiles,
    default_kernel_files,
    opened_kernel_files,
)
from virtlayer.service.machines.kernels import KernelChoice, check_modules, chosen_kernel
from virtlayer.service.operations.machines.boot_volumes import BootVolumes
from virtlayer.service.operations.machines.kernel_sources import HostSource, ImageSource
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import BootKernel, BootRecord
from virtlayer.service.workers.kernel import Survey

_INIT = "/sbin/init"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """What a machine boots with.

    Attributes:
        kernel: The volume of its kernel.
        initrd: The volume of its initrd.
        boot: Whether that is the initrd of its image or ours.
        image_init: The init that its image has; None if none.
        os_id: The libosinfo id of its operating system; "" if unknown.
        kernel_version: The version of its kernel.
    """

    kernel: str
    initrd: str
    boot: Boot
    image_init: str | None
    os_id: str
    kernel_version: str


async def boot_files(
    services: Services, claim: Claim, image: CatalogImage, choice: KernelChoice, job: Job
) -> BootFiles:
    """Find what a machine of an image boots with; its volumes are in the pool and claimed then.

    Args:
        services: The daemon's parts.
        claim: The claim of the job, in the pool of the machine; it has the image.
        image: The image.
        choice: What the caller says about the kernel.
        job: The job.

    Raises:
        NoKernel: There is no kernel, or it has no modules.
        AmbiguousKernel: The image has several kernels, and none was chosen.
        ImageNotFound: The image that was named for its kernel does not exist.
        InvalidArgument: A file of the image or the choice cannot be used.
        VirtlayerError: It failed; the class says why. Only boot volumes are left then.
    """
    async with AsyncExitStack() as life:
        return await _BootFiles(services, claim, job, life).of(image, choice)


class _BootFiles:
    """The search for one machine."""

    def __init__(self, services: Services, claim: Claim, job: Job, life: AsyncExitStack) -> None:
        self._services = services
        self._claim = claim
        self._life = life
        self._volumes = BootVolumes(services, claim, job)

    async def of(self, image: CatalogImage, choice: KernelChoice) -> BootFiles:
        source = self._source(image, self._claim)
        found = await self._surveyed(image, source)
        own = True
        if choice.kernel is None and found.kernels:
            kernel = chosen_kernel(found, choice.version, image.name)
            starts_init = found.has_init and choice.starts_init in (None, True)
            own = not (starts_init and kernel.has_initrd)
            made = await self._of_image(image, source, found, kernel, own=own)
        else:
            made = await self._other_kernel(image, choice)
        initrd = made.own_initrd if own else made.image_initrd
        assert made.kernel is not None
        assert initrd is not None
        return BootFiles(
            kernel=made.kernel,
            initrd=initrd,
            boot=Boot.OWN_INITRD if own else Boot.IMAGE_INITRD,
            image_init=_INIT if found.has_init else None,
            os_id=found.os_id,
            kernel_version=made.version,
        )

    async def _other_kernel(self, image: CatalogImage, choice: KernelChoice) -> BootKernel:
        """Provide a kernel that is not the image's own."""
        machine = self._services.settings.machine
        match choice.kernel:
            case Path() as path:
                return await self._of_file(path, choice.version)
            case str() as name:
                return await self._of_named_image(name, None, choice.version, 'option "kernel"')
        if machine.kernel is not None:
            return await self._of_named_image(
                parse_image_name(machine.kernel),
                None if machine.kernel_pool is None else parse_pool_name(machine.kernel_pool),
                choice.version,
                'setting "machine.kernel" in virtlayerd.toml',
            )
        files = await asyncio.to_thread(default_kernel_files)
        if files is None:
            raise NoKernel(
                f'The image "{image.name}" has no kernel, and this host has none in /boot '
                '(vmlinuz-VERSION). Give the option "kernel" with an image that has a kernel and '
                'its modules, or set "machine.kernel" in virtlayerd.toml to such an image.'
            )
        return await self._of_host(files, choice.version)

    # ---- images ----

    def _source(self, image: CatalogImage, claim: Claim) -> ImageSource:
        return ImageSource(self._services, self._claim, image, claim, self._life)

    async def _surveyed(self, image: CatalogImage, source: ImageSource) -> BootRecord:
        """Return the record of an image, which a worker reads if there is none."""
        if (record := await self._volumes.record(image.volume)) is not None:
            return record
        self._volumes.report()
        found = _record(image, await source.survey())
        await self._volumes.add(found)
        return found

    async def _of_image(
        self,
        image: CatalogImage,
        source: ImageSource,
        record: BootRecord,
        kernel: BootKernel,
        *,
        own: bool,
    ) -> BootKernel:
        if own:
            check_modules(kernel, image.name)
        return await self._volumes.provide(source, record, kernel, own=own)

    async def _of_named_image(
        self, name: ImageName, other_pool: PoolName | None, version: str | None, origin: str
    ) -> BootKernel:
        image, claim = await self._claimed_image(name, other_pool, origin)
        source = self._source(image, claim)
        found = await self._surveyed(image, source)
        if not found.kernels:
            raise NoKernel(
                f'The image "{name}" (the {origin}) has no kernel: neither '
                "/usr/lib/modules/VERSION/vmlinuz nor /boot/vmlinuz-VERSION."
            )
        kernel = chosen_kernel(found, version, name)
        return await self._of_image(image, source, found, kernel, own=True)

    async def _claimed_image(
        self, name: ImageName, other_pool: PoolName | None, origin: str
    ) -> tuple[CatalogImage, Claim]:
        """Return an image of the pool of the machine or of another one, and a claim on it."""
        own_pool = self._claim.pool.name
        pools = tuple(dict.fromkeys([own_pool, other_pool or own_pool]))
        for pool in pools:
            if await self._services.catalog.get(pool, name) is None:
                continue
            claim = await self._claim_in(pool)
            while (image := await self._services.catalog.get(pool, name)) is not None:
                await claim.add([image.volume])
                await self._services.records.synchronize(claim.pool)
                # Another host may have removed or replaced it before the claim.
                if await self._services.catalog.get(pool, name) == image:
                    return image, claim
        shown = " or ".join(f'"{pool}"' for pool in pools)
        raise ImageNotFound(
            f'The image "{name}" (the {origin}) does not exist in the pool {shown}. Pull it first.'
        )

    async def _claim_in(self, pool: str) -> Claim:
        if pool == self._claim.pool.name:
            return self._claim
        claiming = self._services.claims.claimed(await self._services.pools.get(pool), [])
        return await self._life.enter_async_context(claiming)

    # ---- files of the host ----

    async def _of_file(self, path: Path, version: str | None) -> BootKernel:
        if not self._services.session:
            raise InvalidArgument(
                f'The option "kernel" names the file {path}. The system service opens no files '
                "for callers. Name an image that has a kernel, or use a session."
            )
        # In a thread, because the file system may not answer.
        opening = asyncio.to_thread(self._life.enter_context, opened_kernel_files(path))
        return await self._of_host(await to_completion(opening), version)

    async def _of_host(self, files: KernelFiles, version: str | None) -> BootKernel:
        if version is not None and version != files.version:
            raise NoKernel(
                f'{files.description} has the version {files.version}. The option "kernel-version" '
                f"names {version}."
            )
        kernel = BootKernel(version=files.version)
        record = await self._volumes.record(files.source)
        if record is None:
            record = BootRecord(name=files.source, kernels=(kernel,))
        source = HostSource(self._services, self._claim, files)
        kernel = record.kernel(files.version) or kernel
        return await self._volumes.provide(source, record, kernel, own=True)


def _record(image: CatalogImage, survey: Survey) -> BootRecord:
    return BootRecord(
        name=image.volume,
        has_init=survey.init,
        os_id=survey.os_id,
        kernels=tuple(
            BootKernel(version=one.version, has_initrd=one.initrd, has_modules=one.modules)
            for one in survey.kernels
        ),
    )
