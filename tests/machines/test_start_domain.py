# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines start, and stop in order; one that does not reach its init is a failed start."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.machines.making import cancelled_in, created, request, stored
from tests.machines.test_create_domain import domains, machine_files
from tests.support.images import directory, file
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import MachineHost
from tests.support.service_parts import some_job
from tests.support.waiting import until
from virtlayer.errors import DomainFailed, InUse
from virtlayer.protocol.domains import State
from virtlayer.protocol.names import parse_domain_name
from virtlayer.protocol.pools import Pool
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.describe_domain import describe_domain
from virtlayer.service.operations.machines.remove_domain import RemoveDomainRequest, remove_domain
from virtlayer.service.operations.machines.start_domain import StartDomainRequest, start_domain
from virtlayer.service.operations.machines.stop_domain import StopDomainRequest, stop_domain
from virtlayer.service.operations.services import Services
from virtlayer.sizes import MIB

BUSYBOX = [directory("bin"), file("bin/sh", Path("/bin/busybox").read_bytes(), mode=0o755)]
WEB = parse_domain_name("web")


def log_directory(host: LibvirtHost) -> Path:
    """Where the logs of machines are."""
    return host.logs if isinstance(host, MachineHost) else host.directory / "cache/libvirt/qemu/log"


async def test_machine_starts_and_stops_by_its_signal(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(
        services,
        pool,
        "demo",
        tmp_path,
        *BUSYBOX,
        kernel=False,
        Cmd=["/bin/sh"],
        StopSignal="SIGUSR1",
    )
    script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done"
    startup = StartupOptions(command=("/bin/sh", "-c", script))
    kernel = debian_kernel().image
    await created(services, pool, image, "web", kernel=kernel, memory=256 * MIB, startup=startup)
    described = await describe_domain(services, WEB)
    assert (described.state, described.exit_status) == (State.STOPPED, None)
    await start_domain(services, StartDomainRequest(name=WEB), some_job())
    described = await describe_domain(services, WEB)
    assert (described.state, described.exit_status) == (State.RUNNING, None)
    with pytest.raises(InUse, match="running"):
        await remove_domain(services, RemoveDomainRequest(name=WEB), some_job())
    output = log_directory(host) / f"virtlayer-{described.uuid}.output"
    await until(lambda: b"ready" in output.read_bytes())
    # It runs already.
    await start_domain(services, StartDomainRequest(name=WEB), some_job())
    stopped = await stop_domain(services, StopDomainRequest(name=WEB, timeout=60), some_job())
    assert not stopped.forced
    described = await describe_domain(services, WEB)
    assert (described.state, described.exit_status) == (State.STOPPED, 5)
    await remove_domain(services, RemoveDomainRequest(name=WEB), some_job())
    assert (domains(host), machine_files(pool)) == ([], set())


async def test_machine_that_does_not_reach_its_init_is_removed(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    # Its kernel is none.
    image = await stored(services, pool, "demo", tmp_path)
    making = asyncio.create_task(created(services, pool, image, "web", start=True))
    while not making.done():
        with contextlib.suppress(AssertionError):
            host.virsh("destroy", "web")
        await asyncio.sleep(0.02)
    with pytest.raises(DomainFailed):
        await making
    assert (domains(host), machine_files(pool)) == ([], set())
    assert await services.catalog.volumes.list(pool.name) == ()


async def test_cancelled_start_leaves_nothing(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await cancelled_in(Stage.STARTING, services, request(pool.name, image, "web", start=True))
    assert (domains(host), machine_files(pool)) == ([], set())
    assert await services.catalog.volumes.list(pool.name) == ()


async def test_machine_is_stopped_at_once_without_patience(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web")
    stopped = await stop_domain(services, StopDomainRequest(name=WEB), some_job())
    assert not stopped.forced
    host.virsh("start", "web", "--paused")
    stopped = await stop_domain(services, StopDomainRequest(name=WEB, timeout=0), some_job())
    assert stopped.forced
    assert (await describe_domain(services, WEB)).state is State.STOPPED
    await created(services, pool, image, "db", ephemeral=True)
    name = parse_domain_name("db")
    stopped = await stop_domain(services, StopDomainRequest(name=name), some_job())
    assert not stopped.forced
    assert domains(host) == ["web"]
