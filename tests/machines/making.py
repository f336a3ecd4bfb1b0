# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images for machines that need not boot, and requests for machines."""

import re
from pathlib import Path
from typing import Any

from tests.support.boot_images import VERSION, built_in, modules, small_kernel
from tests.support.images import Entry, directory, file, image, layer, write_layout
from tests.support.service_parts import pulled, some_job
from virtlayer.protocol.domains import DomainType
from virtlayer.protocol.names import (
    ImageName,
    parse_domain_name,
    parse_image_name,
    parse_pool_name,
    parse_volume_name,
)
from virtlayer.protocol.pools import Pool
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job, JobState
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.operations.machines.create_domain import create_domain
from virtlayer.service.operations.machines.new_domain import CreatedDomain, CreateDomainRequest
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.services import Services
from virtlayer.sizes import MIB

KERNEL = [
    directory("boot"),
    file(f"boot/vmlinuz-{VERSION}", small_kernel()),
    *modules({"modules.builtin": built_in("virtio_net")}),
]
"""A kernel that no machine could boot."""


async def stored(
    services: Services,
    pool: Pool,
    name: str,
    directory: Path,
    *entries: Entry,
    kernel: bool = True,
    **config: Any,
) -> ImageName:
    """Pull an image with these files, and perhaps a kernel, whose config has these fields."""
    files = [*(KERNEL if kernel else ()), *entries]
    content = image([layer(*files)], config={"config": {"Cmd": ["/run"], **config}})
    layout = write_layout(directory / re.sub("[/:]", "-", name), {"1": content})
    await pulled(services, f"oci:{layout}:1", pool.name, name=parse_image_name(name))
    return parse_image_name(name)


def request(pool: str, image: str, name: str | None = None, **more: Any) -> CreateDomainRequest:
    """A request for a machine that is not started."""
    fields: dict[str, Any] = {
        "pool": parse_pool_name(pool),
        "image": parse_image_name(image),
        "name": None if name is None else parse_domain_name(name),
        "volume": NewVolume(name=parse_volume_name("unnamed")),
        "memory": 64 * MIB,
        "type": DomainType.QEMU,
        "start": False,
    }
    return CreateDomainRequest(**fields | more)


class _Cancelling:
    """Cancels a job when it reaches a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def added(self, job: Job) -> None: ...

    def changed(self, job: Job, names: frozenset[str]) -> None:
        if "stage" in names and job.stage is self._stage:
            job.cancel()

    def progressed(self, job: Job) -> None: ...

    def finished(self, job: Job) -> None: ...

    def removed(self, job: Job) -> None: ...


async def cancelled_in(stage: Stage, services: Services, request: CreateDomainRequest) -> None:
    """Let a job that makes a machine be cancelled in a stage."""
    jobs = Jobs(services.settings.jobs, queue_limit=1)
    jobs.subscribe(_Cancelling(stage))
    job = jobs.start(
        Kind.CREATE_DOMAIN,
        source=request.image,
        pool=request.pool,
        started_by=0,
        operation=lambda job: create_domain(services, request, job),
    )
    await job.wait()
    await jobs.close(1)
    assert (job.state, job.stage) == (JobState.CANCELLED, stage), job.message


async def created(
    services: Services, pool: Pool, image: str, name: str | None = None, **more: Any
) -> CreatedDomain:
    """Make a machine that is not started."""
    return await create_domain(services, request(pool.name, image, name, **more), some_job())
