# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of others in a pool: no name in them makes DescribeVolume costly, or a job a defect."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.job_watch import JOB, MANAGER, ROOT, Watch, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE
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
    shutil.rmtree(host.pool_directory("described"))


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
    async with watching(daemon.bus.address) as watch, asyncio.timeout(PATIENCE):
        for name in ("a", "b", "c", "self"):
            described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, name)
            assert described["path"].value == str(directory / name)
            assert described["image"].value == ""


@pytest.mark.parametrize(
    "backing",
    [
        "x" * 200,
        "a\nb",
        "/etc/passwd",
        "../x",
        "json:{",
        "nbd://127.0.0.1:1/x",
        ".",
        "/",
        "ü\x1b[2J",
    ],
)
async def test_any_name_in_a_header_is_the_end_of_the_chain(
    daemon: Daemon, host: LibvirtHost, pool: str, backing: str
) -> None:
    volume = host.pool_directory(pool) / "overlay"
    overlay(volume, "long-name".ljust(len(backing.encode()), "x"))
    content = volume.read_bytes()
    name = b"long-name".ljust(len(backing.encode()), b"x")
    assert len(name) >= len(backing.encode())
    volume.write_bytes(content.replace(name, backing.encode().ljust(len(name), b"/"), 1))
    host.virsh("pool-refresh", pool)
    async with watching(daemon.bus.address) as watch:
        described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, "overlay")
        assert described["path"].value == str(volume)
        assert described["image"].value == ""
    assert "Traceback" not in daemon.log


async def test_the_pool_is_not_refreshed(daemon: Daemon, host: LibvirtHost, pool: str) -> None:
    (host.pool_directory(pool) / "new").write_bytes(b"")
    async with watching(daemon.bus.address) as watch:
        with pytest.raises(BusError) as caught:
            await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, "new")
        assert caught.value.name == "org.virtlayer1.Error.VolumeNotFound"
        assert f"--connect '{host.uri}' pool-refresh {pool}" in str(caught.value)
        assert " new " not in host.virsh("vol-list", pool)
        host.virsh("pool-refresh", pool)
        described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", pool, "new")
        assert described["format"].value == "raw"


async def job_error(watch: Watch, member: str, pool: str) -> tuple[str, str]:
    """Run a job in a pool that fails; return its error and message."""
    _number, job = await watch.ask(ROOT, MANAGER, member, "sa{sv}", pool, {})
    state, error, message, _result = await watch.ask(job, JOB, "Wait")
    assert state == "failed"
    return error, message


@pytest.mark.parametrize("place", ["header", "pool"])
async def test_a_name_that_is_not_utf_8_is_reported(
    daemon: Daemon, host: LibvirtHost, pool: str, place: str
) -> None:
    directory = host.pool_directory(pool)
    damaged = os.fsencode(directory) + b"/damaged\xff"
    if place == "pool":
        Path(os.fsdecode(damaged)).write_bytes(b"")
    else:
        overlay(directory / "overlay", "damagedX")
        content = (directory / "overlay").read_bytes()
        (directory / "overlay").write_bytes(content.replace(b"damagedX", b"damaged\xff", 1))
    host.virsh("pool-refresh", pool)
    async with watching(daemon.bus.address) as watch:
        for member, expected in (("Prune", "InUse"), ("Rescan", "Libvirt")):
            error, message = await job_error(watch, member, pool)
            assert error == f"org.virtlayer1.Error.{expected}"
            assert 'damaged\\xff", which is not valid UTF-8' in message
    assert "Traceback" not in daemon.log
