# SPDX-License-Identifier: LGPL-2.1-or-later
"""Service and keeper are killed while a machine is made: it is whole afterwards, or not there."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from dbus_next.signature import Variant

from tests.machines.making import KERNEL
from tests.machines.test_create_domain import domains, machine_files
from tests.support.bus_daemon import session_bus
from tests.support.images import image, layer, write_layout
from tests.support.job_watch import MANAGER, ROOT, Watch, watching
from tests.support.leftovers import children, children_of, is_keeper, nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.orphans import adopting, wait_until_only
from tests.support.soak import FACTOR
from tests.support.virtlayerd import Daemon, virtlayerd
from virtlayer.sizes import MIB

KILLS = 8 * FACTOR
SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n[service]\nidle-timeout = 0\n"


async def begun(watch: Watch, pool: str) -> str:
    """Begin to make a machine; the job's path."""
    options = {"start": Variant("b", False), "memory": Variant("t", 64 * MIB)}
    options["type"] = Variant("s", "qemu")
    [_, path] = await watch.ask(
        ROOT, MANAGER, "CreateDomain", "sssa{sv}", pool, "demo", "web", options
    )
    return str(path)


async def made(watch: Watch, pool: str) -> None:
    """Make a machine."""
    job = await watch.finished(await begun(watch, pool))
    assert job["State"] == "done", job


async def whole_or_nothing(watch: Watch, host: LibvirtHost, path: Path) -> None:
    """Wait until what was killed is a machine, or has left nothing."""
    while True:
        files = machine_files(path)
        if not (found := domains(host)):
            if not files:
                return
        else:
            assert found == ["web"]
            uuid = host.virsh("domuuid", "web").strip()
            assert files == {"web.qcow2", f"config-{uuid}.raw"}
            job = await watch.ask(ROOT, MANAGER, "RemoveDomain", "sa{sv}", "web", {})
            assert (await watch.finished(job[1]))["State"] == "done"
        await asyncio.sleep(0.02)


def kill(daemon: Daemon, *, keeper_first: bool) -> None:
    """Kill the service and its keeper."""
    pids = [pid for pid in children_of(daemon.process.pid) if is_keeper(pid)]
    pids = [*pids, daemon.process.pid] if keeper_first else [daemon.process.pid, *pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    daemon.process.wait()


async def test_killed_at_any_moment(host: LibvirtHost, pool_name: str, tmp_path: Path) -> None:
    path = host.pool_directory(pool_name)
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    layout = write_layout(
        tmp_path / "layout", {"1": image([layer(*KERNEL)], config={"config": {"Cmd": ["/run"]}})}
    )
    moments = random.Random(3)  # noqa: S311 -- no secret
    with nothing_left(), adopting(), session_bus(tmp_path / "bus") as bus:
        known = children()
        took = 0.0
        for number in range(KILLS):
            with virtlayerd(host, bus, tmp_path / "home", settings=SETTINGS) as daemon:
                async with watching(bus.address) as watch:
                    if number == 0:
                        options = {"name": Variant("s", "demo")}
                        pulling = await watch.pull(f"oci:{layout}:1", pool_name, **options)
                        assert (await watch.finished(pulling))["State"] == "done"
                        await made(watch, pool_name)
                        await watch.finished(
                            (await watch.ask(ROOT, MANAGER, "RemoveDomain", "sa{sv}", "web", {}))[1]
                        )
                        before = time.monotonic()
                        await made(watch, pool_name)
                        took = time.monotonic() - before
                    await whole_or_nothing(watch, host, path)
                    await begun(watch, pool_name)
                    await asyncio.sleep(moments.uniform(0, took))
                    kill(daemon, keeper_first=number % 2 == 0)
            wait_until_only(known)
        with virtlayerd(host, bus, tmp_path / "home", settings=SETTINGS):
            async with watching(bus.address) as watch:
                await whole_or_nothing(watch, host, path)
                # The first job in a pool removes the unfinished files.
                await made(watch, pool_name)
                await whole_or_nothing(watch, host, path)
