# SPDX-License-Identifier: LGPL-2.1-or-later
"""A keeper process, with a libvirtd and a pool, and without."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.raw_keeper import RawKeeper, raw_keeper

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TestPool:
    """A pool: its name, its UUID and its directory."""

    __test__ = False

    name: str
    uuid: str
    path: Path

    def layer(self, digit: str, backing: str | None = None) -> str:
        """Make a volume with the name of a layer; return the name."""
        name = f"layer-{digit * 64}.qcow2"
        options = [] if backing is None else ["-u", "-b", backing, "-F", "qcow2"]
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *options]
        subprocess.run([*command, str(self.path / name), "64M"], check=True)
        return name


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """One libvirtd for all tests."""
    with shared_by_tests(), private_host() as host:
        yield host


@pytest.fixture
def keeper(host: LibvirtHost) -> Iterator[RawKeeper]:
    """A keeper for that libvirtd."""
    with raw_keeper(host.uri) as running:
        yield running


@pytest.fixture
def pool(host: LibvirtHost, keeper: RawKeeper) -> Iterator[TestPool]:
    """An empty pool, which the keeper knows."""
    name = f"hostile-{next(_numbers)}"
    path = host.start_pool(name)
    path.chmod(0o700 if os.geteuid() == 0 else 0o755)
    found = keeper.get("find-pool", name=name)
    yield TestPool(name, found["uuid"], path)
    host.stop_pool(name)
