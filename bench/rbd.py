# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer on hosts that share an RBD pool of a Ceph cluster of one node."""

import asyncio
import contextlib
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.namespace_host import NamespaceHost, hosts
from tests.support.pool_of_hosts import POOL, PoolClient
from tests.support.trees import mounted

from bench.commands import stopwatch
from bench.inputs import Image, Inputs
from bench.places import scratch
from bench.result import Finished

_TIMES = 7
SIZE = 1024**3
"""Of the file systems, in bytes: rbd import reads the holes of a file, too, 2 s for each GiB."""
_SETTINGS = f"[service]\nidle-timeout = 0\n[storage]\nvirtual-size = {SIZE}\n"
_NAME = "image"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster, and hosts with libvirt, a bus and virtlayerd.

    Attributes:
        ceph: The cluster.
        hosts: The hosts.
        inputs: The images.
        kept: A directory for a raw file with the content of the image that was pulled last.
    """

    ceph: OneNodeCeph
    hosts: tuple[NamespaceHost, ...]
    inputs: Inputs
    kept: Path

    @contextlib.contextmanager
    def pool(self) -> Iterator[CephPool]:
        """An empty pool of the cluster; what it has had is deleted afterwards."""
        pool = self.ceph.pool()
        try:
            yield pool
        finally:
            sure = "--yes-i-really-really-mean-it"
            self.ceph.ceph("osd", "pool", "delete", pool.name, pool.name, sure)

    @contextlib.contextmanager
    def clients(self, number: int) -> Iterator[tuple[str, list[NamespaceHost]]]:
        """An empty pool, and hosts that share it, whose virtlayerd has just started with no cache.

        Args:
            number: How many hosts.
        """
        running = list(self.hosts[:number])
        with self.pool() as pool:
            for host in running:
                host.kill_daemon()
                host.forget()
                pool.define_in(host, POOL)
            with ThreadPoolExecutor() as threads:
                list(threads.map(NamespaceHost.start_daemon, running))
            try:
                yield pool.name, running
            finally:
                for host in running:
                    host.stop_pool(POOL)

    @contextlib.contextmanager
    def tree(self, image: str) -> Iterator[Path]:
        """The file system on an RBD image, mounted by the kernel.

        Args:
            image: ``pool/image``.
        """
        with scratch("look") as directory:
            raw = directory / "raw"
            self.ceph.rbd("export", "--no-progress", image, str(raw))
            with mounted(raw, directory / "mnt") as root:
                yield root

    @property
    def raw(self) -> Path:
        """A raw file with the content of the image that was pulled last."""
        return self.kept / "rbd.raw"


class ColdPull:
    """A pull with nothing there yet.

    Args:
        cluster: Where it runs.
        hosts: How many hosts pull the image at the same time.
        kept: Whether the content is kept for those that import it.
    """

    def __init__(self, cluster: Cluster, *, hosts: int = 1, kept: bool = False) -> None:
        self._cluster = cluster
        self._hosts = hosts
        self._kept = kept

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:  # noqa: ARG002 -- as all
        """Pull an image; the time is that of the last host to end."""
        cluster = self._cluster
        with cluster.clients(self._hosts) as (pool, hosts):
            source = cluster.inputs.reference(image)
            seconds, volume = asyncio.run(_pull_on_all(hosts, source))
            place = f"{pool}/{volume}"
            if self._kept:
                cluster.raw.unlink(missing_ok=True)
                cluster.ceph.rbd("export", "--no-progress", place, str(cluster.raw))
            yield Finished(seconds, 0, lambda: cluster.tree(place))


class NewClone:
    """CreateVolume on an image in an RBD pool; the time is the median of several.

    Args:
        cluster: Where it runs.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:  # noqa: ARG002 -- as all
        """Create volumes."""
        cluster = self._cluster
        with cluster.clients(1) as (pool, [host]):
            seconds = asyncio.run(_create_volumes(host, cluster.inputs.reference(image)))
            yield Finished(statistics.median(seconds), 0, lambda: cluster.tree(f"{pool}/volume-0"))


async def _pull_on_all(hosts: Sequence[NamespaceHost], source: str) -> tuple[float, str]:
    async with contextlib.AsyncExitStack() as connections:
        clients = [PoolClient(host) for host in hosts]
        for client in clients:
            connections.push_async_callback(client.close)
            # Connected, and the keeper runs, as after any other call.
            await client.images()
        with stopwatch() as watch:
            results = await asyncio.gather(*(_pulled(client, source) for client in clients))
    volumes = {str(result) for result in results}
    assert len(volumes) == 1, "hosts with one pool have made different volumes"
    return watch.seconds, volumes.pop()


async def _pulled(client: PoolClient, source: str) -> str:
    return str((await client.done(await client.pull(source, _NAME)))["volume"])


async def _create_volumes(host: NamespaceHost, source: str) -> list[float]:
    client = PoolClient(host)
    try:
        await _pulled(client, source)
        seconds = []
        for number in range(_TIMES):
            with stopwatch() as watch:
                await client.done(await client.create_volume(_NAME, f"volume-{number}"))
            seconds.append(watch.seconds)
        return seconds
    finally:
        await client.close()


@contextlib.contextmanager
def started_cluster(inputs: Inputs, kept: Path) -> Iterator[Cluster]:
    """Run a cluster and two hosts.

    Args:
        inputs: The images.
        kept: A directory for a raw file.
    """
    with OneNodeCeph() as ceph, hosts("a", "b", settings=_SETTINGS) as running:
        yield Cluster(ceph, running, inputs, kept)
