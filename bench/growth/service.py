# SPDX-License-Identifier: LGPL-2.1-or-later
"""One virtlayerd with one pool, as its clients see it: every call is timed."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.virtlayerd import Daemon, virtlayerd

from bench.commands import run, stopwatch
from bench.memory import keepers_of, resident
from bench.ours import Machine
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import Options

_SETTINGS = "[service]\nidle-timeout = 0\n"
_MANAGER = ("org.virtlayer1", "/org/virtlayer1")
_IMAGES = "/org/virtlayer1/image/"
_OBJECTS = ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
_COMMAND = str(Path(sys.executable).parent / "virtlayer")
_SETTLING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has succeeded.

    Attributes:
        seconds: From the call to the news that it has ended.
        result: What it says.
    """

    seconds: float
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A running virtlayerd.

    Attributes:
        daemon: Its process.
        pool: The name of its pool.
        start: Seconds from its start to its first list of images.
    """

    daemon: Daemon
    pool: str
    start: float

    def job(self, member: str, signature: str, *arguments: str, **options: bool) -> Job:
        """Run a job of the manager to its end."""
        return asyncio.run(self._job(member, signature, arguments, options))

    def pull(self, source: str, *, cache: bool = True) -> Job:
        """Pull an image into the pool."""
        options = {"tls-verify": False, "cache": cache}
        return self.job("Pull", "ssa{sv}", source, self.pool, **options)

    def remove(self, image: str) -> Job:
        """Remove an image from the pool."""
        return self.job("RemoveImage", "ssa{sv}", self.pool, image)

    def prune(self) -> Job:
        """Prune the pool."""
        return self.job("Prune", "sa{sv}", self.pool)

    def rescan(self) -> Job:
        """Rescan the pool."""
        return self.job("Rescan", "sa{sv}", self.pool)

    def populate(self) -> Job:
        """Update the configured images."""
        return self.job("Populate", "a{sv}")

    def list_images(self) -> float:
        """Seconds of ListImages, with a client in C: it reads the reply in little time."""
        with stopwatch() as watch:
            self._busctl(
                "--quiet", "call", *_MANAGER, "org.virtlayer1.Manager", "ListImages", "s", ""
            )
        return watch.seconds

    def list_objects(self) -> float:
        """Seconds of GetManagedObjects."""
        with stopwatch() as watch:
            self._busctl("--quiet", "call", *_MANAGER, *_OBJECTS)
        return watch.seconds

    def command(self) -> float:
        """Seconds of ``virtlayer images``."""
        with stopwatch() as watch:
            self.daemon.bus.run(_COMMAND, "--user", "images")
        return watch.seconds

    def images(self) -> set[str]:
        """The names of the images, by all three lists."""
        listed = asyncio.run(self._listed())
        objects = json.loads(self._busctl("--json=short", "call", *_MANAGER, *_OBJECTS))["data"][0]
        shown = {
            properties["org.virtlayer1.Image"]["Name"]["data"]
            for path, properties in objects.items()
            if path.startswith(_IMAGES)
        }
        lines = self.daemon.bus.run(_COMMAND, "--user", "images").splitlines()[1:]
        assert listed == shown, "ListImages and GetManagedObjects disagree"
        assert len(lines) == len(listed), "virtlayer images and ListImages disagree"
        return listed

    def memory(self) -> dict[str, float]:
        """Resident bytes of the service and of its keeper, when nothing happens."""
        time.sleep(_SETTLING_SECONDS)
        service = self.daemon.process.pid
        [keeper] = keepers_of(service)
        return {"service": resident(service), "keeper": resident(keeper)}

    def _busctl(self, *arguments: str) -> str:
        return run("busctl", f"--address={self.daemon.bus.address}", *arguments)

    async def _listed(self) -> set[str]:
        async with Client.connected(session=True) as client:
            return {image.name for image in await client.list_images(self.pool)}

    async def _job(
        self, member: str, signature: str, arguments: tuple[str, ...], options: Options
    ) -> Job:
        async with Client.connected(session=True) as client:
            with stopwatch() as watch:
                job = await client.start(member, signature, *arguments, options=options)
                outcome = await client.wait(job, lambda _: None)
        outcome.raise_for_failure()
        return Job(watch.seconds, outcome.result)


@contextlib.contextmanager
def service(machine: Machine, home: Path, pool: str) -> Iterator[Service]:
    """Run virtlayerd; it has ended afterwards.

    Args:
        machine: Where it runs; libvirtd has the pool.
        home: For its files; with what an earlier one has left.
        pool: The name of the pool.
    """
    home.mkdir(exist_ok=True)
    started = time.perf_counter()
    with virtlayerd(machine.host, machine.bus, home, settings=_SETTINGS) as daemon:
        running = Service(daemon, pool, 0.0)
        running.list_images()
        yield Service(daemon, pool, time.perf_counter() - started)
