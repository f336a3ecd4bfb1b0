# SPDX-License-Identifier: LGPL-2.1-or-later
"""One Ceph cluster for all tests of this folder, and a libvirtd of each test's own.

librbd 18.2.7 rarely aborts libvirtd while libvirt refreshes a pool, see docs/pools.md. A test that
fails because of that is not run again: what virtlayer must do then is checked in its place, and a
warning says so. Nothing else that the test finds is accepted.
"""

from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import FaultyRegistry
from tests.support.leftovers import shared_by_tests
from tests.support.librbd_aborts import assert_recovers
from tests.support.libvirt_host import LibvirtHost, private_host, running_hosts, warn_of
from tests.support.rbd_user import rbd_daemon
from tests.support.virtlayerd import Daemon


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Check what must hold after librbd has aborted the libvirtd of a test."""
    done: object = True
    try:
        done = yield
    except Exception as failure:  # any: the text says whether libvirtd could not be reached
        lost = [host for host in running_hosts if host.is_unreachable_in(failure)]
        if not lost or not all(host.librbd_abort(wait=True) for host in lost):
            raise
    for host in running_hosts:
        if abort := host.librbd_abort():
            warn_of(abort)
            cluster = pyfuncitem.funcargs["ceph"]
            assert isinstance(cluster, OneNodeCeph)
            assert_recovers(host, cluster)
        host.assert_running()
    return done


@pytest.fixture(scope="session")
def ceph() -> Iterator[OneNodeCeph]:
    """The cluster."""
    with shared_by_tests(), OneNodeCeph() as cluster:
        yield cluster


@pytest.fixture
def pool(ceph: OneNodeCeph) -> CephPool:
    """A pool of the test's own."""
    return ceph.pool()


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    """The libvirtd of a host."""
    with private_host() as running:
        yield running


@pytest.fixture
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The virtlayerd of that host."""
    with rbd_daemon(host, tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[FaultyRegistry]:
    """A registry that can be made to fail."""
    async with FaultyRegistry() as running:
        yield running
