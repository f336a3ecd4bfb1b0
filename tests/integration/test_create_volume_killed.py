# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon is killed when a new volume has its name: the pool says what the volume is."""

import asyncio
import time
from pathlib import Path

from tests.support.bus_daemon import session_bus
from tests.support.images import directory, file, image, layer
from tests.support.job_watch import MANAGER, ROOT, watching
from tests.support.leftovers import children
from tests.support.libvirt_host import LibvirtHost
from tests.support.orphans import adopting, wait_until_only
from tests.support.pool_content import names_in
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE
from virtlayer.cancellation import meanwhile
from virtlayer.sizes import MIB

SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"
POOL = "volume-killed"
VOLUME = "guest.qcow2"


def kill_when_there(daemon: Daemon, path: Path) -> None:
    """Kill the daemon as soon as there is a file."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < deadline:
        pass
    daemon.process.kill()
    daemon.process.wait()


async def test_volume_of_a_killed_daemon_is_known(host: LibvirtHost, tmp_path: Path) -> None:
    pool = host.start_pool(POOL)
    home = tmp_path / "home"
    for path in (home, tmp_path / "bus"):
        path.mkdir()
    with (
        adopting(),
        Registry(tmp_path / "registry") as registry,
        session_bus(tmp_path / "bus") as bus,
    ):
        source = registry.store(image([layer(directory("etc"), file("etc/hostname", b""))]), "a:1")
        known = children()
        with virtlayerd(host, bus, home, settings=SETTINGS) as daemon:
            async with watching(bus.address) as watch:
                pulled = await watch.finished(await watch.pull(source, POOL))
                killing = asyncio.to_thread(kill_when_there, daemon, pool / VOLUME)
                async with meanwhile(killing) as killed:
                    await watch.ask(
                        ROOT, MANAGER, "CreateVolume", "sssa{sv}", POOL, "a:1", VOLUME, {}
                    )
                    await killed
        wait_until_only(known)
        host.virsh("pool-refresh", POOL)
        with virtlayerd(host, bus, home, settings=SETTINGS):
            async with watching(bus.address) as watch:
                # It also removes what the killed job left.
                await watch.finished(await watch.pull(source, POOL))
                rows = await watch.ask(ROOT, MANAGER, "ListVolumes", "s", POOL)
                assert [row[:3] for row in rows if row[0] == VOLUME] == [[VOLUME, "volume", "a:1"]]
                _number, path = await watch.ask(
                    ROOT, MANAGER, "RemoveVolume", "ssa{sv}", POOL, VOLUME, {}
                )
                removed = await watch.finished(path)
                assert removed["State"] == "done", removed["Message"]
        wait_until_only(known)
    assert names_in(pool) == pulled["Result"]["volumes"]
    host.stop_pool(POOL)
