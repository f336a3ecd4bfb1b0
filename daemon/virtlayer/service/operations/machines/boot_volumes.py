# SPDX-License-Identifier: LGPL-2.1-or-later
"""Provides the boot volumes of a kernel: those that a record names, or new ones."""

import asyncio
import dataclasses
from collections.abc import Iterable

from virtlayer.cancellation import first_failure
from virtlayer.protocol.records import RecordKind
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.machines.initrd_tools import initrd_tools
from virtlayer.service.operations.machines.kernel_sources import KernelSource
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import BootKernel, BootRecord


class BootVolumes:
    """The boot volumes of a pool.

    Args:
        services: The daemon's parts.
        claim: The claim of the job in the pool; all volumes are added to it.
        job: The job.
    """

    def __init__(self, services: Services, claim: Claim, job: Job) -> None:
        self._services = services
        self._claim = claim
        self._job = job

    async def record(self, source: str) -> BootRecord | None:
        """Return what is known of a source of kernels; None if nothing is."""
        pool = self._claim.pool.name
        record, _ = await self._services.catalog.records.get(pool, RecordKind.BOOT, source)
        assert record is None or isinstance(record, BootRecord)
        return record

    async def add(self, record: BootRecord) -> None:
        """Record what a source of kernels has, unless that is known.

        Raises:
            VirtlayerError: The record cannot be written.
        """
        await self._services.records.add(self._claim, record)

    async def provide(
        self, source: KernelSource, record: BootRecord, kernel: BootKernel, *, own: bool
    ) -> BootKernel:
        """Return a kernel whose volumes are in the pool, and are claimed.

        Volumes that do not exist are made, and recorded.

        Args:
            source: Makes them.
            record: What is known of the source.
            kernel: The kernel.
            own: Whether it gets our initrd, instead of that of its image.

        Raises:
            VirtlayerError: They cannot be made; the class says why.
        """
        tools = await asyncio.to_thread(initrd_tools) if own else ""
        initrd = _initrd(kernel, tools)
        there = await self._claimed([kernel.kernel, initrd])
        if kernel.kernel in there and initrd in there:
            return kernel
        self.report()
        await source.prepare()
        made = await self._made(
            source,
            dataclasses.replace(kernel, kernel=kernel.kernel if kernel.kernel in there else None),
            initrd if initrd in there else None,
            tools,
        )
        await self._services.records.change_boot(
            self._claim, record.name, lambda before: _with(before or record, made, own=own)
        )
        return made

    def report(self) -> None:
        """Set the stage of the job."""
        self._job.report.set_stage(Stage.PREPARING_BOOT)

    async def _made(
        self, source: KernelSource, kernel: BootKernel, initrd: str | None, tools: str
    ) -> BootKernel:
        """Make the volumes that are None, at the same time; none of them if one cannot be made."""
        version = kernel.version
        missing = [kernel.kernel, initrd].count(None)
        when_written = asyncio.Barrier(missing).wait

        async def kernel_volume() -> str:
            return kernel.kernel or await source.make_kernel(version, when_written)

        async def initrd_volume() -> str:
            return initrd or await source.make_initrd(version, when_written, own=bool(tools))

        try:
            async with asyncio.TaskGroup() as group:
                kernels = group.create_task(kernel_volume())
                initrds = group.create_task(initrd_volume())
        except BaseExceptionGroup as errors:
            raise first_failure(errors) from errors
        made = dataclasses.replace(kernel, kernel=kernels.result())
        if tools:
            return dataclasses.replace(made, own_initrd=initrds.result(), tools=tools)
        return dataclasses.replace(made, image_initrd=initrds.result())

    async def _claimed(self, names: Iterable[str | None]) -> frozenset[str]:
        """Claim volumes; return those that the pool has, which no host deletes from now on."""
        wanted = [name for name in names if name is not None]
        if not wanted:
            return frozenset()
        await self._claim.add(wanted)
        return frozenset(await self._services.pools.files(self._claim.pool, wanted))


def _initrd(kernel: BootKernel, tools: str) -> str | None:
    """The volume of an initrd that was made before.

    Args:
        kernel: The kernel.
        tools: What ours would be composed of now; "" for the initrd of the image.
    """
    if not tools:
        return kernel.image_initrd
    return kernel.own_initrd if kernel.tools == tools else None


def _with(record: BootRecord, made: BootKernel, *, own: bool) -> BootRecord:
    """Return a record with new volumes; another job may have recorded others meanwhile."""
    before = record.kernel(made.version) or made
    changed = dataclasses.replace(before, kernel=made.kernel)
    if own:
        changed = dataclasses.replace(changed, own_initrd=made.own_initrd, tools=made.tools)
    else:
        changed = dataclasses.replace(changed, image_initrd=made.image_initrd)
    others = [one for one in record.kernels if one.version != made.version]
    kernels = sorted([*others, changed], key=lambda one: one.version)
    return dataclasses.replace(record, kernels=tuple(kernels))
