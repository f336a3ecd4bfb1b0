# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer itself: the real daemon on a real bus with a real libvirtd, all private to the run."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.bus_daemon import Bus, session_bus
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.virtlayerd import Daemon, virtlayerd

from bench.commands import disk_usage, stopwatch
from bench.inputs import Image, Inputs
from bench.memory import MemoryWatch, resident
from bench.result import Finished
from bench.volumes import volume_tree
from virtlayer.client.bus.answers import Outcome, StartedJob
from virtlayer.client.bus.caller import Client


@dataclass(frozen=True, slots=True)
class Machine:
    """A libvirtd and a bus without a virtlayerd yet."""

    host: LibvirtHost
    bus: Bus
    inputs: Inputs

    @contextlib.contextmanager
    def installed(
        self, directory: Path, *, pools: int = 1, settings: str = "", idle_seconds: int = 0
    ) -> Iterator["Installation"]:
        """A daemon that was just started, with empty pools and nothing in its cache.

        Args:
            directory: An empty one.
            pools: How many.
            settings: Further text of its virtlayerd.toml.
            idle_seconds: After which it ends if nobody asks for anything; 0 for never.
        """
        home = directory / "virtlayerd"
        home.mkdir()
        with contextlib.ExitStack() as started:
            names = [f"bench-{number}" for number in range(pools)]
            paths = {name: started.enter_context(self._pool(name, directory)) for name in names}
            settings = f"[service]\nidle-timeout = {idle_seconds}\n{settings}"
            with virtlayerd(self.host, self.bus, home, settings=settings) as daemon:
                yield Installation(daemon, paths, self.inputs)

    @contextlib.contextmanager
    def _pool(self, name: str, directory: Path) -> Iterator[Path]:
        path = directory / name
        path.mkdir()
        self.host.start_pool(name, path)
        try:
            yield path
        finally:
            self.host.stop_pool(name)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has succeeded.

    Attributes:
        seconds: From the call to the news that it has ended.
        volumes: The chain that it brought, base first; empty for other jobs than pulls.
        memory: Peaks in bytes until then.
    """

    seconds: float
    volumes: tuple[Path, ...]
    memory: Mapping[str, float]

    def finished(self) -> Finished:
        """A pull as the result of a contestant."""
        size, top = disk_usage(*self.volumes), self.volumes[-1]
        return Finished(self.seconds, size, lambda: volume_tree(top), self.memory)


@dataclass(frozen=True, slots=True)
class Installation:
    """A running virtlayerd, and its pools by their names."""

    daemon: Daemon
    pools: Mapping[str, Path]
    inputs: Inputs

    def pull(self, image: Image) -> Ended:
        """Pull an image into the first pool."""
        pool, path = next(iter(self.pools.items()))
        options = {"tls-verify": False, "cache": True}
        source = self.inputs.reference(image)
        pull = partial(Client.pull, source=source, pool=pool, options=options)
        return asyncio.run(self._timed(path, pull))

    async def pulled(
        self, client: Client, source: str, *, pool: str | None = None, cache: bool = True
    ) -> Ended:
        """Pull an image as one of several jobs; nobody looks at the memory meanwhile.

        Args:
            client: Waits for no other job.
            source: The image.
            pool: A pool; None for the first one.
            cache: Whether its blobs are kept.
        """
        pool = pool or next(iter(self.pools))
        options = {"tls-verify": False, "cache": cache}
        with stopwatch() as watch:
            outcome = await client.wait(await client.pull(source, pool, options), lambda _: None)
        return Ended(watch.seconds, _volumes(self.pools[pool], outcome), {})

    def create_volume(self, image: Image, volume: str) -> tuple[Ended, Path]:
        """Make a writable volume on an image in the first pool."""
        name, (pool, path) = image.repository.rpartition("/")[2], next(iter(self.pools.items()))
        start = partial(_create_volume, pool=pool, image=name, volume=volume)
        return asyncio.run(self._timed(path, start)), path / volume

    def remove_volume(self, volume: str) -> None:
        """Remove a volume of the first pool."""
        pool, path = next(iter(self.pools.items()))
        asyncio.run(self._timed(path, partial(_remove_volume, pool=pool, volume=volume)))

    def idle_memory(self) -> int:
        """Resident bytes of the daemon before it has done anything."""
        time.sleep(1)
        return resident(self.daemon.process.pid)

    async def _timed(self, pool: Path, start: Callable[[Client], Awaitable[StartedJob]]) -> Ended:
        async with Client.connected(session=True) as client:
            with MemoryWatch(self.daemon.process.pid) as memory, stopwatch() as watch:
                outcome = await client.wait(await start(client), lambda _: None)
        return Ended(watch.seconds, _volumes(pool, outcome), memory.peaks())


def _volumes(pool: Path, outcome: Outcome) -> tuple[Path, ...]:
    outcome.raise_for_failure()
    names = outcome.result.get("volumes", [])
    assert isinstance(names, list)
    return tuple(pool / str(name) for name in names)


async def _create_volume(client: Client, *, pool: str, image: str, volume: str) -> StartedJob:
    return await client.start("CreateVolume", "sssa{sv}", pool, image, volume)


async def _remove_volume(client: Client, *, pool: str, volume: str) -> StartedJob:
    return await client.start("RemoveVolume", "ssa{sv}", pool, volume)


@contextlib.contextmanager
def started_machine(inputs: Inputs, directory: Path) -> Iterator[Machine]:
    """Run a libvirtd and a bus; this process becomes a client of the bus."""
    with machine_host() as host, session_bus(directory) as bus:
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.address
        yield Machine(host, bus, inputs)
