# SPDX-License-Identifier: LGPL-2.1-or-later
"""One Ceph cluster for all tests of this folder, and a second run where librbd aborts libvirtd.

librbd 18.2.7 rarely makes libvirtd abort while libvirt refreshes a pool, see docs/pools.md. That is
a fault of theirs: the test is run once more, and a warning says so. It fails if libvirtd aborts
again.
"""

import warnings
from collections.abc import AsyncIterator, Iterator

import pytest
from _pytest.runner import runtestprotocol

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import FaultyRegistry
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost, private_host, running_hosts
from tests.support.rbd_user import rbd_daemon
from tests.support.virtlayerd import Daemon

_ABORTS = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, and once more if a libvirtd has aborted."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    aborts = item.stash[_ABORTS] = []
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    del item.stash[_ABORTS]
    if aborts:
        with warnings.catch_warnings():
            # The tests' own settings make every warning an error.
            warnings.simplefilter("always")
            item.warn(pytest.PytestWarning("run again: " + "\n".join(aborts)))
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Start a libvirtd that has aborted again, for the fixtures' ends, if the test is run again."""
    if (aborts := item.stash.get(_ABORTS, None)) is not None:
        with shared_by_tests():
            for host in running_hosts:
                if abort := host.abort():
                    aborts.append(abort)
                    host.restart()
        if aborts:
            _finish_failed_fixtures(item)


def _finish_failed_fixtures(item: pytest.Item) -> None:
    """Let the fixtures of a module or of the session that failed be set up again."""
    assert isinstance(item, pytest.Function)
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.cached_result is not None and definition.cached_result[2] is not None:
                # The annotation names a fixture's request; only the node is used, which both have.
                definition.finish(item._request)  # type: ignore[arg-type]


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
