# SPDX-License-Identifier: LGPL-2.1-or-later
"""Changes of machines that other programs make are signalled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.defined_machines import METADATA, defined_machine
from tests.support.job_watch import MANAGER, ROOT, Watch, watching
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.pool_user import qemu_img
from tests.support.virtlayerd import virtlayerd
from tests.support.waiting import PATIENCE

NO_POOL = "00000000-0000-0000-0000-000000000000"
MACHINE = METADATA.format(image="demo", digest="", pool=NO_POOL, volume="web.qcow2")


@pytest.fixture
async def watch(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[Watch]:
    directory = tmp_path / "bus"
    directory.mkdir()
    with session_bus(directory) as bus, virtlayerd(host, bus, tmp_path):
        async with watching(bus.address) as running:
            yield running


@pytest.fixture
def disk(host: LibvirtHost) -> Path:
    path = host.directory / "web.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(path), "64M")
    path.chmod(0o666)
    return path


async def states(watch: Watch, name: str) -> list[str]:
    """The states of a machine that were signalled."""
    await watch.ask(ROOT, MANAGER, "ListJobs")
    changes = [told.body for told in watch.of(ROOT, "DomainChanged")]
    return [state for machine, state in changes if machine == name]


async def until(watch: Watch, name: str, state: str) -> None:
    """Wait until the last state of a machine that was signalled is this one."""
    async with asyncio.timeout(PATIENCE):
        while (await states(watch, name))[-1:] != [state]:
            await asyncio.sleep(0.02)


async def test_each_state_of_a_machine_is_signalled(
    host: LibvirtHost, watch: Watch, disk: Path
) -> None:
    with defined_machine(host, "web", disk, metadata=MACHINE):
        await until(watch, "web", "stopped")
        host.virsh("start", "web", "--paused")
        await until(watch, "web", "paused")
        host.virsh("destroy", "web")
        await until(watch, "web", "stopped")
    await until(watch, "web", "removed")
    assert await states(watch, "web") == ["stopped", "paused", "stopped", "removed"]


async def test_domains_of_other_programs_are_not_signalled(
    host: LibvirtHost, watch: Watch, disk: Path
) -> None:
    with (
        defined_machine(host, "other", disk),
        defined_machine(host, "web", disk, metadata=MACHINE),
    ):
        await until(watch, "web", "stopped")
    await until(watch, "web", "removed")
    assert await states(watch, "other") == []


async def test_changes_are_signalled_after_a_restart_of_libvirtd(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    with (
        private_host() as host,
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, tmp_path),
    ):
        path = host.directory / "web.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", str(path), "64M")
        async with watching(bus.address) as watch:
            with defined_machine(host, "web", path, metadata=MACHINE):
                await until(watch, "web", "stopped")
                host.restart()
            await until(watch, "web", "removed")
