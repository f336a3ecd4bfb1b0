# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer itself: the real daemon on a real bus with a real libvirtd, all private to the run."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bus_daemon import Bus, session_bus
from tests.libvirt_host import LibvirtHost, private_host
from tests.virtlayerd import Daemon, virtlayerd

from bench.commands import disk_usage, stopwatch
from bench.inputs import Image, Inputs
from bench.memory import MemoryWatch, resident
from bench.result import Finished
from bench.volumes import volume_tree
from virtlayer.bus.client.answers import StartedJob
from virtlayer.bus.client.caller import Client

POOL = "bench"
_SETTINGS = "[service]\nidle-timeout = 0\n"


@dataclass(frozen=True, slots=True)
class Machine:
    """A libvirtd and a bus without a virtlayerd yet."""

    host: LibvirtHost
    bus: Bus
    inputs: Inputs

    @contextlib.contextmanager
    def installed(self, directory: Path) -> Iterator["Installation"]:
        """A daemon that was just started, with an empty pool and nothing in its cache."""
        pool, home = directory / "pool", directory / "virtlayerd"
        pool.mkdir()
        home.mkdir()
        self.host.start_pool(POOL, pool)
        try:
            with virtlayerd(self.host, self.bus, home, settings=_SETTINGS) as daemon:
                yield Installation(daemon, pool, self.inputs)
        finally:
            self.host.stop_pool(POOL)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has succeeded.

    Attributes:
        seconds: From the call to the news that it has ended.
        result: What the job gave.
        memory: Peaks in bytes.
    """

    seconds: float
    result: Mapping[str, object]
    memory: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Installation:
    """A running virtlayerd and its pool."""

    daemon: Daemon
    pool: Path
    inputs: Inputs

    def pull(self, image: Image) -> Ended:
        """Pull an image."""
        reference = self.inputs.reference(image)
        return self._timed(lambda client: client.pull(reference, POOL, {"tls-verify": False}))

    def create_volume(self, image: Image, volume: str) -> Ended:
        """Make a writable volume on an image that was pulled."""
        name = image.repository.rpartition("/")[2]
        return self._timed(
            lambda client: client.start("CreateVolume", "sssa{sv}", POOL, name, volume)
        )

    def finished(self, pull: Ended) -> Finished:
        """A pull as the result of a contestant."""
        volumes = self.volumes(pull)
        return Finished(
            pull.seconds, disk_usage(*volumes), lambda: volume_tree(volumes[-1]), pull.memory
        )

    def volumes(self, pull: Ended) -> list[Path]:
        """The chain, base first."""
        names = pull.result["volumes"]
        assert isinstance(names, list)
        return [self.pool / str(name) for name in names]

    def idle_memory(self) -> int:
        """Resident bytes of the daemon before it has done anything."""
        time.sleep(1)
        return resident(self.daemon.process.pid)

    def _timed(self, start: Callable[[Client], Awaitable[StartedJob]]) -> Ended:
        return asyncio.run(self._run(start))

    async def _run(self, start: Callable[[Client], Awaitable[StartedJob]]) -> Ended:
        async with Client.connected(session=True) as client:
            with MemoryWatch(self.daemon.process.pid) as memory, stopwatch() as watch:
                outcome = await client.wait(await start(client), lambda _: None)
        outcome.raise_for_failure()
        return Ended(watch.seconds, outcome.result, memory.peaks())


@contextlib.contextmanager
def started_machine(inputs: Inputs, directory: Path) -> Iterator[Machine]:
    """Run a libvirtd and a bus; this process becomes a client of the bus."""
    with private_host() as host, session_bus(directory) as bus:
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.address
        yield Machine(host, bus, inputs)
