# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many callers at a time: every job ends right, every layer is built once, nothing grows."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.bus_daemon import session_bus
from tests.support.images import Content, file, image, layer
from tests.support.job_watch import Watch, watching
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.soak import FACTOR
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import until
from virtlayer.sizes import KIB, MIB

IMAGES, PULLS, CALLERS, ROUNDS = 10, 50, 10, 3 * FACTOR
POOLS = ("load-a", "load-b", "load-c")
SHARED = 2
"""Layers that all images of a round begin with; each has one more of its own."""
QUIET = 0.5
"""Seconds that nothing is opened or closed until a round counts as over."""
GROWTH_LIMIT = (5 + FACTOR) * MIB
"""What may come to 47 MiB between the first round and the last, for 30 images more in the catalog
and what the allocator keeps; 1.8 MiB was measured."""
SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n[jobs]\nkeep-number = {PULLS}\n"


def images_of(number: int) -> list[Content]:
    """The images of one round, with layers that no other round has."""
    seed = random.Random(number)  # noqa: S311 -- no secret
    base = [layer(file(f"base-{n}", seed.randbytes(64 * KIB))) for n in range(SHARED)]
    return [image([*base, layer(file("own", seed.randbytes(64 * KIB)))]) for _ in range(IMAGES)]


async def state_of(daemon: Daemon, most: int | None) -> tuple[int, int]:
    """How many descriptors the daemon has open, and its resident memory in bytes.

    Programs end and files are closed in threads, so some can still be open when a job has ended.

    Args:
        daemon: The daemon.
        most: Wait until it has no more descriptors than these; None in the first round.
    """
    process = Path(f"/proc/{daemon.process.pid}")
    found, since = -1, time.monotonic()

    def is_over() -> bool:
        nonlocal found, since
        if (now := len(list((process / "fd").iterdir()))) != found:
            found, since = now, time.monotonic()
        is_quiet = time.monotonic() - since >= QUIET
        return is_quiet and not daemon.programs and (most is None or found <= most)

    await until(is_over)
    status = (process / "status").read_text()
    return found, int(status.partition("VmRSS:")[2].split()[0]) * KIB


async def one_round(callers: Sequence[Watch], sources: Sequence[str]) -> None:
    """Pull the images from all connections into all pools at the same time."""

    async def pulled(number: int) -> dict[str, Any]:
        caller, pool = callers[number % CALLERS], POOLS[number % len(POOLS)]
        job = await caller.finished(await caller.pull(sources[number % IMAGES], pool))
        assert job["State"] == "done", job
        return job

    jobs = await asyncio.gather(*(pulled(number) for number in range(PULLS)))
    for pool in POOLS:
        results = [job["Result"] for job in jobs if job["Pool"] == pool]
        volumes = {name for result in results for name in result["volumes"]}
        assert sum(result["layers-built"] for result in results) == len(volumes)
        # Fifty pulls meet every pair of the ten images and three pools.
        assert len(volumes) == SHARED + IMAGES


async def test_fifty_pulls_at_a_time_several_times(
    host: LibvirtHost, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for pool in POOLS:
        host.start_pool(pool)
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    figures: list[tuple[int, int, float]] = []
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(nothing_left())
        registry = stack.enter_context(Registry(tmp_path / "registry"))
        bus = stack.enter_context(session_bus(tmp_path / "bus"))
        daemon = stack.enter_context(virtlayerd(host, bus, tmp_path / "home", settings=SETTINGS))
        callers = [await stack.enter_async_context(watching(bus.address)) for _ in range(CALLERS)]
        for number in range(ROUNDS):
            contents = enumerate(images_of(number))
            sources = [registry.store(content, f"load/{number}-{n}:1") for n, content in contents]
            begun = time.monotonic()
            await one_round(callers, sources)
            seconds = time.monotonic() - begun
            most = min((count for count, _, _ in figures), default=None)
            figures.append((*await state_of(daemon, most), seconds))
        assert daemon.programs == set()
    for pool in POOLS:
        assert len(host.volumes(pool)) == ROUNDS * (SHARED + IMAGES)
        host.stop_pool(pool)
    record_property("descriptors, bytes of memory and seconds of each round", figures)
    grown = [after[1] - before[1] for before, after in itertools.pairwise(figures)]
    assert sum(grown) < GROWTH_LIMIT, figures
