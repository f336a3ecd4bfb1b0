# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper is killed at any moment of a job: the job reports it, and nothing is lost."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.bus_daemon import session_bus
from tests.support.images import LayerContent, directory, file, image, layer
from tests.support.job_watch import Watch, watching
from tests.support.leftovers import children_of, is_keeper
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.registry import Registry
from tests.support.soak import FACTOR
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE, wait_until
from virtlayer.sizes import MIB

KILLS = 8 * FACTOR
SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"
POOL = "keeper-killed"


def layers() -> list[LayerContent]:
    seed = random.Random(5)  # noqa: S311 -- no secret
    return [
        layer(directory("etc"), file("etc/one", seed.randbytes(2 * MIB))),
        layer(*(file(f"etc/{n}", b"%d" % n) for n in range(200))),
        layer(directory("usr"), file("usr/two", seed.randbytes(MIB))),
    ]


def keeper_of(daemon: Daemon) -> int:
    """The daemon's keeper, when there is one."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for pid in children_of(daemon.process.pid) if is_keeper(pid)]
        return bool(found)

    wait_until(look)
    return found[0]


async def pulled(watch: Watch, source: str) -> dict[str, Any]:
    """Pull to the end; return the job."""
    return await watch.finished(await watch.pull(source, POOL))


def forget(home: Path, pool: Path) -> None:
    """Let the next pull have everything to do again."""
    for path in (*pool.glob("layer-*"), *home.glob("cache/virtlayer/blobs/sha256/*")):
        path.unlink()


async def test_killed_at_any_moment_of_a_pull(host: LibvirtHost, tmp_path: Path) -> None:
    pool = host.start_pool(POOL)
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    moments = random.Random(2)  # noqa: S311 -- no secret
    outcomes: set[object] = set()
    home = tmp_path / "home"
    with (
        Registry(tmp_path / "registry") as registry,
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(host, bus, home, settings=SETTINGS) as daemon,
    ):
        source = registry.store(image(layers()), "killed:1")
        async with watching(bus.address) as watch:
            volumes = (await pulled(watch, source))["Result"]["volumes"]
            forget(home, pool)
            begun = time.monotonic()
            await pulled(watch, source)
            whole = time.monotonic() - begun
            for _ in range(KILLS):
                forget(home, pool)
                path = await watch.pull(source, POOL)
                await asyncio.sleep(moments.uniform(0, whole))
                keeper = await asyncio.to_thread(keeper_of, daemon)
                os.kill(keeper, signal.SIGKILL)
                async with asyncio.timeout(PATIENCE):
                    while keeper in children_of(daemon.process.pid):
                        await asyncio.sleep(0.001)
                job = await watch.finished(path)
                outcomes.add((job["State"], job["Error"]))
                # The service is the same, and its next job starts another keeper.
                again = await pulled(watch, source)
                assert again["State"] == "done", again["Message"]
                assert again["Result"]["volumes"] == volumes
                assert names_in(pool) == sorted(volumes)
                await asyncio.to_thread(_until_quiet, daemon)
    unavailable = ("failed", "org.virtlayer1.Error.PoolUnavailable")
    assert unavailable in outcomes
    assert outcomes <= {unavailable, ("done", "")}
    host.stop_pool(POOL)


def _until_quiet(daemon: Daemon) -> None:
    """Wait until nothing of a job is left: no program, no socket."""
    deadline = time.monotonic() + PATIENCE
    while daemon.programs or list((daemon.directory / "run").rglob("nbd-*")):
        assert time.monotonic() < deadline, daemon.programs
        time.sleep(0.01)
