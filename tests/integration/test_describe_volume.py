# SPDX-License-Identifier: LGPL-2.1-or-later
"""DescribeVolume is open to everyone: no file and no caller makes it costly."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.job_watch import MANAGER, ROOT, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon, virtlayerd
from virtlayer.dbus.connection import BusError


@pytest.fixture(scope="module")
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with (
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, tmp_path_factory.mktemp("virtlayerd")) as running,
    ):
        yield running


@pytest.fixture
def pool(host: LibvirtHost) -> Iterator[str]:
    host.start_pool("described")
    yield "described"
    host.stop_pool("described")


def overlay(path: Path, backing: str) -> None:
    command = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing]
    subprocess.run([*command, path, "1M"], check=True)


async def test_volumes_that_back_each_other_are_described(
    daemon: Daemon, host: LibvirtHost, pool: str
) -> None:
    directory = host.pool_directory(pool)
    for name, backing in (("a", "b"), ("b", "c"), ("c", "a"), ("self", "self")):
        overlay(directory / name, backing)
    host.virsh("pool-refresh", pool)
    async with watching(daemon.bus.address) as watch, asyncio.timeout(60):
        for name in ("a", "b", "c", "self"):
            described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, name)
            assert described["path"].value == str(directory / name)
            assert described["image"].value == ""


async def test_the_pool_is_not_refreshed(daemon: Daemon, host: LibvirtHost, pool: str) -> None:
    (host.pool_directory(pool) / "new").write_bytes(b"")
    async with watching(daemon.bus.address) as watch:
        with pytest.raises(BusError) as caught:
            await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, "new")
        assert caught.value.name == "org.virtlayer1.Error.VolumeNotFound"
        assert " new " not in host.virsh("vol-list", pool)
        host.virsh("pool-refresh", pool)
        described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, "new")
        assert described["format"].value == "raw"
