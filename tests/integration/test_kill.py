# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon is killed at any moment of a pull; the next one finishes the work, and sweeps."""

import asyncio
import random
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.images import LayerContent, directory, file, image, layer, whiteout, write_layout
from tests.support.job_watch import Watch, watching
from tests.support.leftovers import children, nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.orphans import adopting, wait_until_only
from tests.support.pool_content import names_in, paths_in
from tests.support.registry import Registry
from tests.support.soak import FACTOR
from tests.support.trees import differences, umoci_tree
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.volumes import assert_sound, fingerprint, tree_of
from virtlayer.sizes import MIB

KILLS = 8 * FACTOR
SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"
POOL = "killed"


def layers() -> list[LayerContent]:
    seed = random.Random(4)  # noqa: S311 -- no secret
    return [
        layer(directory("etc"), file("etc/one", seed.randbytes(2 * MIB)), file("etc/gone", b"x")),
        layer(whiteout("etc/gone"), *(file(f"etc/{n}", b"%d" % n) for n in range(200))),
        layer(directory("usr"), file("usr/two", seed.randbytes(MIB))),
    ]


async def pulled(watch: Watch, source: str) -> list[str]:
    """Pull to the end; return the names of the volumes."""
    job = await watch.finished(await watch.pull(source, POOL))
    assert job["State"] == "done", job["Message"]
    volumes: list[str] = job["Result"]["volumes"]
    return volumes


def converted(volume: Path, target: Path) -> Path:
    """A chain as one raw file."""
    command: list[str | Path] = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", volume, target]
    subprocess.run(command, check=True)
    return target


def forget(daemon_directory: Path, pool: Path) -> None:
    """Let the next pull have everything to do again."""
    for path in (*pool.glob("layer-*"), *daemon_directory.glob("cache/virtlayer/blobs/sha256/*")):
        path.unlink()


def nothing_unfinished(daemon_directory: Path, pool: Path) -> None:
    """See that nothing is left but finished volumes and blobs, and no credentials."""
    assert [path for path in paths_in(pool) if not _is_layer(path)] == []
    for place in ("cache", "run"):
        left = [path for path in (daemon_directory / place).rglob("*") if path.is_file()]
        assert [path for path in left if path.parent.name != "sha256"] == []


def _is_layer(path: Path) -> bool:
    return re.fullmatch(r"layer-[0-9a-f]{64}\.qcow2", path.name) is not None


async def killed_in_a_pull(daemon: Daemon, source: str, moment: float) -> None:
    async with watching(daemon.bus.address) as watch:
        await watch.pull(source, POOL)
        await asyncio.sleep(moment)
        daemon.process.kill()
        await asyncio.to_thread(daemon.process.wait)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


async def test_killed_at_any_moment(host: LibvirtHost, tmp_path: Path, registry: Registry) -> None:
    content = image(layers())
    pool = host.start_pool(POOL)
    home = tmp_path / "home"
    for path in (home, tmp_path / "bus"):
        path.mkdir()
    moments = random.Random(1)  # noqa: S311 -- no secret
    with nothing_left(), adopting(), registry, session_bus(tmp_path / "bus") as bus:
        source = registry.store(content, "kill:1")
        known = children()

        async def next_life(moment: float | None) -> float:
            """Finish what the last life left, check it, and be killed in the next pull.

            Returns:
                How long a whole pull took, in seconds.
            """
            with virtlayerd(host, bus, home, settings=SETTINGS) as daemon:
                async with watching(bus.address) as watch:
                    volumes = await pulled(watch, source)
                    assert names_in(pool) == sorted(volumes)
                    nothing_unfinished(home, pool)
                    raw = await asyncio.to_thread(converted, pool / volumes[-1], tmp_path / "raw")
                    results.add(await asyncio.to_thread(fingerprint, raw))
                    forget(home, pool)
                    begun = time.monotonic()
                    if moment is None:
                        await pulled(watch, source)
                        took = time.monotonic() - begun
                        forget(home, pool)
                        return took
                await killed_in_a_pull(daemon, source, moment)
            wait_until_only(known)
            return 0

        results: set[str] = set()
        whole = await next_life(None)
        for _ in range(KILLS):
            await next_life(moments.uniform(0, whole))
        await next_life(None)
        # Every one of the results is the same, so one of them is compared with the oracle's.
        assert len(results) == 1
        assert_sound(tmp_path / "raw")
        layout = write_layout(tmp_path / "layout", {"1": content})
        expected = umoci_tree(layout, "1", tmp_path)
        found = tree_of(tmp_path / "raw")
        found.pop(b"lost+found", None)
        assert differences(found, expected) == []
    host.stop_pool(POOL)
