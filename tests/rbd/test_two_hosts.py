# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts, each with its libvirtd and virtlayerd, and one RBD pool."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import FaultyRegistry
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.pool_user import some_image
from tests.support.rbd_user import RbdUser, rbd_daemon, rbd_user
from tests.support.virtlayerd import Daemon


@pytest.fixture
def other_host() -> Iterator[LibvirtHost]:
    with private_host() as host:
        yield host


@pytest.fixture
def other_daemon(
    other_host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with rbd_daemon(other_host, tmp_path_factory.mktemp("other")) as daemon:
        yield daemon


@pytest.fixture
def users(
    ceph: OneNodeCeph,
    pool: CephPool,
    host: LibvirtHost,
    daemon: Daemon,
    other_host: LibvirtHost,
    other_daemon: Daemon,
) -> tuple[RbdUser, RbdUser]:
    return rbd_user(ceph, pool, host, daemon), rbd_user(ceph, pool, other_host, other_daemon)


async def volumes_listed(user: RbdUser) -> list[str]:
    """The top volumes of all images, after the next look at the pool, which is soon."""
    await user.run("rescan", user.pool)
    return [image["volume"] for image in await user.run("images", user.pool)]


async def test_the_second_host_builds_nothing(
    users: tuple[RbdUser, RbdUser], registry: FaultyRegistry
) -> None:
    one, other = users
    source = registry.store(some_image("one", "two", "three"), "demo:1")
    pulled = await one.pull(source)
    registry.requested.clear()
    # It lists what the first one has pulled, and needs no pull of its own for a volume.
    assert await volumes_listed(other) == [pulled["volume"]]
    await other.run("create-volume", "demo", "web", other.pool)
    assert registry.requested == []
    again = await other.pull(source)
    assert (again["layers_built"], again["layers_reused"]) == (0, 3)
    assert (again["outcome"], again["bytes_downloaded"]) == ("unchanged", 0)

    used = await one.fail("remove", "demo", one.pool)
    assert "web" in used.stderr
    await one.run("remove-volume", "web", one.pool)
    await one.run("remove", "demo", one.pool)
    assert await volumes_listed(other) == []
    assert one.images == []


async def test_two_hosts_at_once_build_once(
    users: tuple[RbdUser, RbdUser], registry: FaultyRegistry, tmp_path: Path
) -> None:
    one, other = users
    source = registry.store(some_image("four", "five", "six"), "demo:1")
    results = await asyncio.gather(one.pull(source), other.pull(source))
    assert sum(result["layers_built"] for result in results) == 3
    assert results[0]["volumes"] == results[1]["volumes"]
    assert one.images == sorted(results[0]["volumes"])
    assert one.fingerprint(results[0]["volume"], tmp_path)
