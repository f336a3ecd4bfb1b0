# SPDX-License-Identifier: LGPL-2.1-or-later
"""One pool for all tests of this folder, whose table is empty at the start of each test."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_host_process import connected
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.process_entry import ProcessEntry, addresses_in
from virtlayer.rbd.table import PoolTable
from virtlayer.rbd.takeover import Takeover

type MakeHost = Callable[[], Takeover]


@pytest.fixture(scope="session")
def shared_pool(ceph: OneNodeCeph) -> CephPool:
    """The pool."""
    return ceph.pool()


@pytest.fixture
def cluster(shared_pool: CephPool) -> Iterator[Any]:
    """A connection to the cluster."""
    with connected(shared_pool) as connection:
        yield connection


@pytest.fixture
def table(cluster: Any, shared_pool: CephPool) -> Iterator[PoolTable]:
    """The table of the pool."""
    with cluster.open_ioctx(shared_pool.name) as ioctx:
        table = PoolTable(ioctx, shared_pool.name)
        for name in ("pool", *(f"leases-{digit:x}" for digit in range(16))):
            with contextlib.suppress(rados.ObjectNotFound):
                ioctx.remove_object(name)
        yield table


@pytest.fixture
def images(cluster: Any, shared_pool: CephPool) -> Iterator[Any]:
    """The images of the pool; those that a test leaves are removed."""
    with cluster.open_ioctx(shared_pool.name) as ioctx:
        yield ioctx
        for name in rbd.RBD().list(ioctx):
            rbd.RBD().remove(ioctx, name)


@pytest.fixture
def new_host(cluster: Any, table: PoolTable) -> Iterator[MakeHost]:
    """Make hosts, each with a lease of its own, in the test's process."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as leases:

        def made() -> Takeover:
            name = f"host{next(numbers)}"
            entry = ProcessEntry(addresses_in(cluster.get_addrs()), name, os.getpid())
            lease = Lease(table, entry)
            leases.callback(lease.end)
            return Takeover(lease, cluster)

        yield made
