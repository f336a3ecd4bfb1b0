# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer with an RBD pool: pulls on one host, on two, and on a second one; volumes."""

import asyncio
import contextlib
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.namespace_host import NamespaceHost
from tests.support.pool_of_hosts import PoolClient

from bench.commands import run, stopwatch
from bench.inputs import Image
from bench.rbd.cluster import Cluster, OnCluster
from bench.result import Finished

_TIMES = 7
_TIMES_ON_NEW_HOST = 3
_NAME = "image"


class ColdPull(OnCluster):
    """A pull with nothing there yet.

    Args:
        cluster: Where it runs.
        hosts: How many hosts pull the image at the same time.
        kept: Whether the content is kept for those that import it.
    """

    def __init__(self, cluster: Cluster, *, hosts: int = 1, kept: bool = False) -> None:
        super().__init__(cluster)
        self._hosts = hosts
        self._kept = kept

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
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


class SecondHost(OnCluster):
    """A pull on a host that has never seen the image, of which another one has built all layers.

    The time is the median of several; one ``skopeo inspect`` before each is in the parts.
    """

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Pull an image on one host, and then on the other one."""
        cluster = self._cluster
        source = cluster.inputs.reference(image)
        with cluster.clients(2) as (pool, [first, second]):
            _, volume = asyncio.run(_pull_on_all([first], source))
            pulls, inspections = [], []
            for _ in range(_TIMES_ON_NEW_HOST):
                second.kill_daemon()
                second.forget()
                second.start_daemon()
                with stopwatch() as inspection:
                    run("skopeo", "inspect", "--tls-verify=false", "--no-tags", source)
                inspections.append(inspection.seconds)
                seconds, found = asyncio.run(_pull_on_all([second], source))
                assert found == volume, "the second host has built the image again"
                pulls.append(seconds)
            yield Finished(
                statistics.median(pulls),
                0,
                lambda: cluster.tree(f"{pool}/{volume}"),
                {"inspect": statistics.median(inspections)},
            )


class NewClone(OnCluster):
    """CreateVolume on an image in an RBD pool; the time is the median of several."""

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
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
