# SPDX-License-Identifier: LGPL-2.1-or-later
"""One Ceph cluster for all tests of this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import FaultyRegistry
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.rbd_user import rbd_daemon
from tests.support.virtlayerd import Daemon


@pytest.fixture(scope="session")
def ceph() -> Iterator[OneNodeCeph]:
    """The cluster."""
    with shared_by_tests(), OneNodeCeph() as cluster:
        yield cluster


@pytest.fixture
def pool(ceph: OneNodeCeph) -> CephPool:
    """A pool of the test's own."""
    return ceph.pool()


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """The libvirtd of a host."""
    with shared_by_tests(), private_host() as running:
        yield running


@pytest.fixture(scope="session")
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The virtlayerd of that host."""
    directory = tmp_path_factory.mktemp("daemon")
    with shared_by_tests(), rbd_daemon(host, directory) as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[FaultyRegistry]:
    """A registry that can be made to fail."""
    async with FaultyRegistry() as running:
        yield running
