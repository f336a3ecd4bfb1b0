# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory that is a pool of several hosts, and clients of virtlayer on these hosts.

::

    async with pool_of_hosts("a", "b") as pool:
        a, b = pool.clients
        await a.done(await a.pull(source, "demo"))
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_next.signature import Variant

from tests.support.bus_daemon import Bus
from tests.support.job_watch import IMAGE, JOB, MANAGER, PROPERTIES, ROOT, SERVICE, plain
from tests.support.namespace_host import NamespaceHost, hosts
from tests.support.volumes import fingerprint
from tests.support.waiting import PATIENCE
from virtlayer.dbus.connection import BusError, Connection
from virtlayer.keeper.kinds.directory.locks import try_lock
from virtlayer.sizes import MIB

POOL = "shared"
SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"
_PRIVATE = ".virtlayer"
"""The directory of the pool that is virtlayer's own."""
_LAYER = re.compile(r"layer-[0-9a-f]{64}\.qcow2")
_SWEPT = 20.0
"""Seconds until all processes have ended of a service that was killed."""
_LOST = tuple(
    f"org.freedesktop.DBus.Error.{name}" for name in ("NoReply", "ServiceUnknown", "NameHasNoOwner")
)
"""Errors of a bus if the service has exited."""
_ERROR_PREFIX = "org.virtlayer1.Error."


class HostLost(Exception):
    """The service that was asked has been killed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Attributes:
        error: The last part of the error's name; "" if it is done.
        message: What it says.
        result: The job's.
    """

    error: str
    message: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in a host's list.

    Attributes:
        digest: Of its manifest.
        volume: Its top volume.
    """

    digest: str
    volume: str


class PoolClient:
    """A client of virtlayer on one host. After its bus has ended, it connects again.

    Attributes:
        host: The host.
    """

    def __init__(self, host: NamespaceHost) -> None:
        self.host = host
        self._connection: Connection | None = None
        self._bus: Bus | None = None
        self._connecting = asyncio.Lock()

    async def pull(self, source: str, name: str) -> str:
        """Start a pull of an image, which replaces any of that name; return the path of the job."""
        options = {
            "tls-verify": Variant("b", False),
            "name": Variant("s", name),
            "replace": Variant("b", True),
        }
        return await self._started("Pull", "ssa{sv}", source, POOL, options)

    async def remove(self, image: str) -> str:
        """Start the removal of an image."""
        return await self._started("RemoveImage", "ssa{sv}", POOL, image, {})

    async def prune(self) -> str:
        """Start to prune."""
        return await self._started("Prune", "sa{sv}", POOL, {})

    async def rescan(self) -> str:
        """Start to rescan."""
        return await self._started("Rescan", "sa{sv}", POOL, {})

    async def create_volume(self, image: str, volume: str) -> str:
        """Start the creation of a writable volume."""
        return await self._started("CreateVolume", "sssa{sv}", POOL, image, volume, {})

    async def cancel(self, job: str) -> None:
        """Cancel a job, and wait until it is over."""
        await self.ask(job, JOB, "Cancel")

    async def images(self) -> dict[str, ListedImage]:
        """The images that the host lists, by their names."""
        while True:
            [listed] = await self.ask(ROOT, MANAGER, "ListImages", "s", POOL)
            try:
                return {
                    name: ListedImage(digest, await self._property(path, IMAGE, "Volume"))
                    for path, _pool, name, _source, digest in listed
                }
            except BusError as error:
                # It was removed meanwhile.
                if error.name != "org.freedesktop.DBus.Error.UnknownObject":
                    raise

    async def outcome(self, job: str) -> Outcome:
        """Wait for the end of a job."""
        async with asyncio.timeout(PATIENCE):
            state, error, message, result = await self.ask(job, JOB, "Wait")
        assert bool(error) == (state != "done"), (state, error)
        return Outcome(error.removeprefix(_ERROR_PREFIX), message, plain(result))

    async def done(self, job: str) -> dict[str, Any]:
        """Wait for the end of a job that does what it should; return its result."""
        outcome = await self.outcome(job)
        assert not outcome.error, outcome
        return outcome.result

    async def is_running(self, job: str) -> None:
        """Wait until a job runs."""
        async with asyncio.timeout(PATIENCE):
            while await self._property(job, JOB, "State") != "running":
                await asyncio.sleep(0.01)

    async def ask(
        self, path: str, interface: str, member: str, signature: str = "", *body: object
    ) -> list[Any]:
        """Call a method of the service.

        Raises:
            HostLost: It was killed meanwhile, or before.
        """
        try:
            return await self._ask(path, interface, member, signature, body)
        except (EOFError, OSError) as error:
            raise HostLost(str(error)) from error
        except BusError as error:
            if error.name in _LOST:
                raise HostLost(str(error)) from error
            raise

    async def _ask(self, *call: Any) -> list[Any]:
        connection = await self._connected()
        asking = asyncio.create_task(connection.ask(SERVICE, *call))
        ending = asyncio.create_task(connection.ended())
        try:
            # A call after the end is not answered.
            await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise HostLost(f"the bus of {self.host.name} has ended")
            return asking.result()
        finally:
            for task in (asking, ending):
                task.cancel()
            await asyncio.wait([asking, ending])
            for task in (asking, ending):
                _ = task.cancelled() or task.exception()

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _started(self, member: str, signature: str, *body: object) -> str:
        _number, path = await self.ask(ROOT, MANAGER, member, signature, *body)
        return str(path)

    async def _property(self, path: str, interface: str, name: str) -> str:
        [value] = await self.ask(path, PROPERTIES, "Get", "ss", interface, name)
        return str(plain(value))

    async def _connected(self) -> Connection:
        async with self._connecting:
            if not self.host.runs:
                raise HostLost(f"virtlayerd does not run on {self.host.name}")
            if self._bus is not self.host.bus:
                await self.close()
                self._bus = self.host.bus
            if self._connection is None:
                address = self._bus.address
                self._connection = await Connection.opened(session=True, address=address)
            return self._connection


@dataclass(frozen=True, slots=True)
class PoolOfHosts:
    """The pool.

    Attributes:
        path: Its directory.
        clients: One on each host.
    """

    path: Path
    clients: tuple[PoolClient, ...]

    @property
    def layers(self) -> set[str]:
        """The names of the layer volumes that are there."""
        return {path.name for path in self.path.iterdir() if _LAYER.fullmatch(path.name)}

    @property
    def records(self) -> dict[str, set[str]]:
        """The names of the records by kind."""
        found: dict[str, set[str]] = {}
        for path in (self.path / _PRIVATE).glob("*.json"):
            record = json.loads(path.read_bytes())
            found.setdefault(record["kind"], set()).add(record["name"])
        return found

    @property
    def unfinished(self) -> list[str]:
        """Files of jobs: claims, staging directories, and unfinished records."""
        own = self.path / _PRIVATE
        found = [
            *(path for place in ("claims", "staging") for path in (own / place).glob("*")),
            *own.glob(".new-*"),
            *(self.path / ".virtlayer-staging").glob("*"),
        ]
        return sorted(str(path.relative_to(self.path)) for path in found)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the pool's lock, as a deletion on another host does."""
        with (self.path / _PRIVATE / "lock").open("r+b") as file:
            assert try_lock(file.fileno(), 0, 1)
            yield

    async def swept_by(self, client: PoolClient) -> None:
        """Prune until nothing unfinished is left: what was killed may still be ending."""
        async with asyncio.timeout(_SWEPT):
            await client.done(await client.prune())
            while self.unfinished:
                await asyncio.sleep(0.1)
                await client.done(await client.prune())

    def chain(self, volume: str) -> list[str]:
        """The names of a volume and of all that it is backed by, top first; each one is there."""
        info = _output(
            "qemu-img",
            "info",
            "--force-share",
            "--backing-chain",
            "--output=json",
            self.path / volume,
        )
        files = [Path(one["filename"]) for one in json.loads(info)]
        assert {file.parent for file in files} == {self.path}, files
        return [file.name for file in files]

    def fingerprint(self, volume: str, work: Path) -> str:
        """sha256 of everything that a guest could read from a volume, whose chain is complete.

        Args:
            volume: Its name.
            work: A directory for a raw file.
        """
        _ = self.chain(volume)
        with raw_file(self.path / volume, work) as raw:
            return fingerprint(raw)


@contextlib.contextmanager
def raw_file(volume: Path, work: Path) -> Iterator[Path]:
    """A raw file with what a guest could read from a volume.

    Args:
        volume: A qcow2 file with its chain.
        work: The directory for the raw file.
    """
    raw = work / f"{volume.name}.raw"
    _output("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", volume, raw)
    try:
        yield raw
    finally:
        raw.unlink()


@contextlib.asynccontextmanager
async def pool_of_hosts(*names: str) -> AsyncIterator[PoolOfHosts]:
    """Hosts that run and share an empty pool.

    Args:
        names: Their host names.
    """
    with hosts(*names, settings=SETTINGS) as running:
        path = running[0].directory.parent / POOL
        path.mkdir()
        # libvirt starts an autostarted pool where it finds one.
        _on_all(running, path)
        clients = tuple(map(PoolClient, running))
        try:
            yield PoolOfHosts(path, clients)
        finally:
            for client in clients:
                await client.close()


def _on_all(running: Iterable[NamespaceHost], path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda host: host.share(POOL, path), running))


def _output(*command: str | os.PathLike[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
