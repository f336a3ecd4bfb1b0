# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ceph cluster of one node, and hosts with virtlayer that share a pool of it."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.namespace_host import NamespaceHost, hosts
from tests.support.pool_of_hosts import POOL
from tests.support.slow_link import SlowLink
from tests.support.trees import mounted

from bench.inputs import Inputs
from bench.places import scratch

SIZE = 1024**3
"""Of the file systems, in bytes: rbd import reads the holes of a file, too, 2 s for each GiB."""
_SETTINGS = f"[service]\nidle-timeout = 0\n[storage]\nvirtual-size = {SIZE}\n"


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


class OnCluster:
    """The beginning of a contestant.

    Args:
        cluster: Where it runs.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster


@contextlib.contextmanager
def started_cluster(
    inputs: Inputs, kept: Path, *, link: SlowLink | None = None
) -> Iterator[Cluster]:
    """Run a cluster and two hosts.

    Args:
        inputs: The images.
        kept: A directory for a raw file.
        link: What lies between the cluster and all its clients.
    """
    with OneNodeCeph(link=link) as ceph, hosts("a", "b", settings=_SETTINGS) as running:
        yield Cluster(ceph, running, inputs, kept)
