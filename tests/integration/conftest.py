# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd for the integration tests, and its clients."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.faulty_registry import FaultyRegistry
from tests.support.keeper import LocalPrograms, running_keeper
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.service_parts import service_parts
from tests.support.virtlayerd import Daemon, virtlayerd
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.operations.services import Services
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """One libvirtd for all tests that leave it as it is."""
    with private_host() as host:
        yield host


@pytest.fixture(scope="module")
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The virtlayerd of a module, on a bus of its own; some have one with other settings."""
    home = tmp_path_factory.mktemp("virtlayerd")
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, home, settings=settings) as running,
    ):
        yield running


@pytest.fixture
async def pools(host: LibvirtHost) -> AsyncIterator[Pools]:
    """The pools of that libvirtd."""
    async with Hypervisor(host.uri) as hypervisor:
        yield Pools(hypervisor)


@pytest.fixture
async def keeper(host: LibvirtHost) -> AsyncIterator[Keeper]:
    """A keeper process for that libvirtd."""
    async with running_keeper(host.uri) as keeper:
        yield keeper


@pytest.fixture
async def worker() -> AsyncIterator[LayerWorker]:
    """The layer worker."""
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as started:
        yield started


@pytest.fixture
async def pool(host: LibvirtHost, pools: Pools) -> AsyncIterator[Pool]:
    """An empty pool of type dir."""
    name = f"pool-{next(_numbers)}"
    host.start_pool(name)
    yield await pools.get(name)
    host.stop_pool(name)


@pytest.fixture
async def registry() -> AsyncIterator[FaultyRegistry]:
    """A registry that can be made to fail; some modules have another kind."""
    async with FaultyRegistry() as running:
        yield running


@pytest.fixture
async def services(
    host: LibvirtHost,
    pool: Pool,  # noqa: ARG001 -- the pool outlives what works with it
    tmp_path: Path,
) -> AsyncIterator[Services]:
    """The parts of a service that uses that libvirtd, checked for leaks."""
    with nothing_left():
        async with service_parts(host, tmp_path) as parts:
            yield parts
