# SPDX-License-Identifier: LGPL-2.1-or-later
"""A keeper that runs among the files of its libvirtd, which has no KVM."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.raw_keeper import RawKeeper, raw_keeper


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """One libvirtd for all tests."""
    with shared_by_tests(), machine_host() as host:
        yield host


@pytest.fixture
def keeper(host: LibvirtHost) -> Iterator[RawKeeper]:
    """A keeper for that libvirtd."""
    with raw_keeper(host.uri, inside=host.as_owner()) as running:
        yield running


@pytest.fixture
def machines(host: LibvirtHost, keeper: RawKeeper, pool: TestPool) -> Iterator[Machines]:
    """Makes domains; those that are left are removed."""
    # QEMU runs as another user, who opens volumes in it.
    pool.path.chmod(0o755)
    yield Machines(host, keeper, pool)
    containers = [] if host.session else [host.uri.replace("qemu", "lxc", 1)]
    for uri in (host.uri, *containers):
        for name in host.virsh("--connect", uri, "list", "--all", "--name").split():
            for command in ("destroy", "undefine"):
                with contextlib.suppress(AssertionError):
                    host.virsh("--connect", uri, command, name)
