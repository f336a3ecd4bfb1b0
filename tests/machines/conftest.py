# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd for machines, without KVM, and the parts of a service that uses it."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import nothing_left, shared_by_tests
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.service_parts import service_parts
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.services import Services

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """One libvirtd for all tests."""
    with shared_by_tests(), machine_host() as host:
        yield host


@pytest.fixture
def pool_name(host: LibvirtHost) -> Iterator[str]:
    """An empty pool of type dir; domains that are left are removed."""
    name = f"machines-{next(_numbers)}"
    host.start_pool(name)
    yield name
    for domain in host.virsh("list", "--all", "--name").split():
        for command in ("destroy", "undefine"):
            with contextlib.suppress(AssertionError):
                host.virsh(command, domain)
    host.stop_pool(name)


@pytest.fixture
async def services(host: LibvirtHost, pool_name: str, tmp_path: Path) -> AsyncIterator[Services]:  # noqa: ARG001 -- the pool outlives what works with it
    """The parts of a service that uses that libvirtd, checked for leaks."""
    with nothing_left():
        async with service_parts(host, tmp_path) as parts:
            yield parts


@pytest.fixture
async def pool(services: Services, pool_name: str) -> Pool:
    """The empty pool."""
    return await services.pools.get(pool_name)
