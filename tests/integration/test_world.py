# SPDX-License-Identifier: LGPL-2.1-or-later
"""External faults in the middle of a pull: the outcome, and nothing left behind."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.bus_daemon import session_bus
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.job_watch import JOB, Watch, watching
from tests.support.leftovers import children, nothing_left
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.orphans import adopting, wait_until_only
from tests.support.pool_content import names_in
from tests.support.pull_in_work import (
    assert_clean,
    cancelled_within_a_second,
    content_of,
    programs_of,
)
from tests.support.slow_creation import slow_creation
from tests.support.small_filesystem import small_filesystem
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE, stop, until
from virtlayer.sizes import MIB

_numbers = itertools.count(1)
SETTINGS = f"[storage]\nvirtual-size = {512 * MIB}\n[jobs]\nrunning-limit = 1\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def daemon(host: LibvirtHost, home: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own; what it leaves running is seen."""
    bus_directory = tmp_path / "bus"
    bus_directory.mkdir()
    with nothing_left(), adopting():
        known = children()
        with (
            session_bus(bus_directory) as bus,
            virtlayerd(host, bus, home, settings=SETTINGS) as running,
        ):
            yield running
        wait_until_only(known)


@pytest.fixture
async def watch(daemon: Daemon) -> AsyncIterator[Watch]:
    async with watching(daemon.bus.address) as client:
        yield client


@pytest.fixture
def pool(host: LibvirtHost) -> Iterator[str]:
    name = f"world-{next(_numbers)}"
    host.start_pool(name)
    yield name
    with contextlib.suppress(AssertionError):
        host.stop_pool(name)


async def test_cancel_in_the_middle_of_a_big_layer(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    path = await watch.pull(registry.store(content_of(1000, 256 * MIB), "big:1"), pool)
    # It is applied while it arrives.
    await watch.reaches(path, Stage="downloading", LayersDone=1)
    await until(lambda: "worker" in programs_of(daemon))
    await cancelled_within_a_second(watch, path)
    assert_clean(daemon, host, pool)
    assert len(host.volumes(pool)) == 1


async def test_cancel_while_libvirt_is_too_busy_to_register(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    content = content_of(1000)
    with slow_creation(host) as creation:
        creating = asyncio.create_task(
            asyncio.to_thread(host.virsh, "vol-create-as", pool, "new", "1M", "--format", "qcow2")
        )
        await creation.has_begun()
        path = await watch.pull(registry.store(content, "busy:1"), pool)
        await watch.reaches(path, Stage="registering")
        await cancelled_within_a_second(watch, path)
        creation.go_on()
        await creating
    host.virsh("vol-delete", "new", "--pool", pool)
    # The layer was finished. A later pull finds it.
    assert_clean(daemon, host, pool)
    job = await watch.finished(await watch.pull(registry.store(content, "busy:1"), pool))
    assert (job["State"], job["Result"]["layers-reused"]) == ("done", 1)


async def test_cancel_in_the_queue(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    content = content_of(1000)
    source = registry.store(content, "queue:1")
    registry.faults["1"] = Fault.HANG
    first = await watch.pull(source, pool)
    second = await watch.pull(source, pool)
    await watch.reaches(first, State="running")
    await watch.reaches(second, State="queued")
    # Starting skopeo can take a second where a machine is busy.
    await registry.asked_for("/manifests/1")
    await cancelled_within_a_second(watch, second)
    assert (await watch.properties(first, JOB))["State"] == "running"
    await cancelled_within_a_second(watch, first)
    assert_clean(daemon, host, pool)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("skopeo", "RegistryUnavailable"),
        ("qemu-storage-daemon", "Internal"),
        ("worker", "Internal"),
    ],
)
async def test_crashed_program_fails_only_its_job(
    daemon: Daemon,
    watch: Watch,
    registry: FaultyRegistry,
    host: LibvirtHost,
    pool: str,
    program: str,
    error: str,
) -> None:
    content = content_of(128 * MIB)
    source = registry.store(content, "crash:1")
    registry.faults[next(iter(content.layer_digests))] = Fault.HANG_HALF_WAY
    path = await watch.pull(source, pool)
    await watch.reaches(path, Stage="downloading")
    await until(lambda: program in programs_of(daemon))
    os.kill(programs_of(daemon)[program], signal.SIGKILL)
    job = await watch.finished(path)
    assert (job["State"], job["Error"]) == ("failed", f"org.virtlayer1.Error.{error}"), job
    assert_clean(daemon, host, pool)
    registry.faults.clear()
    assert (await watch.finished(await watch.pull(source, pool)))["State"] == "done"


async def test_a_pool_that_is_stopped_or_deleted_ends_the_job(
    daemon: Daemon, watch: Watch, registry: FaultyRegistry, host: LibvirtHost, pool: str
) -> None:
    for commands, error in (
        (["pool-destroy"], "PoolInactive"),
        (["pool-destroy", "pool-undefine"], "PoolNotFound"),
    ):
        content = content_of(1000, 1000)
        source = registry.store(content, "pool:1")
        before = {*host.pool_directory(pool).glob("layer-*")}
        registry.faults[content.layer_digests[1]] = Fault.HANG
        path = await watch.pull(source, pool, cache=Variant("b", False))
        async with asyncio.timeout(PATIENCE):
            while {*host.pool_directory(pool).glob("layer-*")} == before:
                await asyncio.sleep(0.01)
        await watch.reaches(path, Stage="downloading")
        for command in commands:
            host.virsh(command, pool)
        registry.faults.clear()
        registry.release()
        job = await watch.finished(path)
        assert (job["State"], job["Error"]) == ("failed", f"org.virtlayer1.Error.{error}"), job
        host.start_pool(pool) if error == "PoolNotFound" else host.virsh("pool-start", pool)
        assert_clean(daemon, host, pool)


@pytest.mark.parametrize("full", ["cache", "state"])
async def test_full_disk_is_nospace_and_temporary(
    host: LibvirtHost, tmp_path: Path, registry: FaultyRegistry, pool: str, home: Path, full: str
) -> None:
    (tmp_path / "bus").mkdir()
    disk = home / full
    disk.mkdir(mode=0o700)
    with (
        nothing_left(),
        small_filesystem(disk, 4 * MIB),
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, home, settings=SETTINGS) as daemon,
    ):
        async with watching(bus.address) as watch:
            source = registry.store(content_of(1000, 2 * MIB), "full:1")
            ballast = disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(4096))
            job = await watch.finished(await watch.pull(source, pool))
            assert (job["State"], job["Error"]) == ("failed", "org.virtlayer1.Error.NoSpace"), job
            ballast.unlink()
            assert_clean(daemon, host, pool)
            assert host.volumes(pool) == []
            assert (await watch.finished(await watch.pull(source, pool)))["State"] == "done"


@pytest.mark.parametrize("event", ["the bus dies", "SIGTERM"])
async def test_the_end_in_the_middle_of_a_job(
    daemon: Daemon, registry: FaultyRegistry, host: LibvirtHost, pool: str, event: str
) -> None:
    content = content_of(1000, 1000)
    registry.faults[content.layer_digests[1]] = Fault.HANG_HALF_WAY
    with contextlib.suppress(OSError, EOFError):
        async with watching(daemon.bus.address) as watch:
            path = await watch.pull(registry.store(content, "end:1"), pool)
            await watch.reaches(path, LayersDone=1, Stage="downloading")
            await until(lambda: [*host.pool_directory(pool).glob("layer-*")])
            begun = time.monotonic()
            if event == "SIGTERM":
                daemon.process.terminate()
            else:
                os.kill(daemon.bus.pid, signal.SIGKILL)
            code = await asyncio.to_thread(daemon.process.wait)
    assert code == (0 if event == "SIGTERM" else 1)
    # SIGTERM has a promise of ten seconds.
    assert time.monotonic() - begun < 10
    assert_clean(daemon, host, pool)
    assert len(host.volumes(pool)) == 1


async def test_hanging_libvirtd_does_not_delay_the_exit(
    tmp_path: Path, registry: FaultyRegistry, home: Path
) -> None:
    (tmp_path / "bus").mkdir()
    content = content_of(1000, 1000)
    registry.faults[content.layer_digests[1]] = Fault.HANG_HALF_WAY
    with (
        private_host() as mortal,
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(mortal, bus, home, settings=SETTINGS) as daemon,
    ):
        mortal.start_pool("default")
        async with watching(bus.address) as watch:
            path = await watch.pull(registry.store(content, "hang:1"), "default")
            await watch.reaches(path, LayersDone=1, Stage="downloading")
            stop(mortal.pid)
            await cancelled_within_a_second(watch, path)
            await watch.pull(registry.store(content, "hang:1"), "default")
            await asyncio.sleep(0.2)  # It is to wait for libvirtd, but may end before that.
            begun = time.monotonic()
            daemon.process.terminate()
            assert await asyncio.to_thread(daemon.process.wait) == 0
            assert time.monotonic() - begun < 10
        os.kill(mortal.pid, signal.SIGCONT)


async def test_two_daemons_in_one_pool_build_the_same_at_the_same_time(
    host: LibvirtHost, tmp_path: Path, registry: FaultyRegistry, pool: str
) -> None:
    """One of them is even cancelled; they share libvirtd, the pool and nothing else."""
    content = content_of(*[MIB] * 4)
    source = registry.store(content, "two:1")
    registry.faults[content.layer_digests[-1]] = Fault.HANG
    async with contextlib.AsyncExitStack() as stack:
        watches = []
        for name in ("one", "two"):
            for part in ("bus", "home"):
                (tmp_path / name / part).mkdir(parents=True)
            bus = stack.enter_context(session_bus(tmp_path / name / "bus"))
            home = tmp_path / name / "home"
            stack.enter_context(virtlayerd(host, bus, home, settings=SETTINGS))
            watches.append(await stack.enter_async_context(watching(bus.address)))
        first, second = [await watch.pull(source, pool) for watch in watches]
        await watches[0].reaches(first, LayersDone=3)
        await cancelled_within_a_second(watches[0], first)
        registry.faults.clear()
        registry.release()
        job = await watches[1].finished(second)
        assert job["State"] == "done", job
        again = await watches[0].finished(await watches[0].pull(source, pool))
        assert again["Result"]["volumes"] == job["Result"]["volumes"]
        assert again["Result"]["layers-reused"] == 4
        assert host.volumes(pool) == sorted(job["Result"]["volumes"])
        assert names_in(host.pool_directory(pool)) == sorted(job["Result"]["volumes"])
