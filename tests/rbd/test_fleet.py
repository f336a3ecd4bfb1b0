# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example of a fleet with an RBD pool; tests/examples/test_fleet.py has it with directories."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.fleet import FURTHER, LAYERS, Counting, Fleet, Traffic, fleet, some_image
from tests.support.libvirt_host import running_hosts

POOL = "images"
HOSTS = ("a", "b", "c")

pytestmark = pytest.mark.root


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Fleet]:
    """Three hosts."""
    with fleet(tmp_path, *HOSTS) as running:
        running_hosts.extend(running.hosts)
        yield running
        for host in running.hosts:
            running_hosts.remove(host)


@pytest.fixture
def shared(running: Fleet, pool: CephPool) -> str:
    """The name of an empty RBD pool that all hosts share."""
    for host in running.hosts:
        pool.define_in(host, POOL)
    return pool.name


@pytest.mark.parametrize("mirrored", [False, True])
async def test_hosts_with_an_rbd_pool_download_an_image_once(
    ceph: OneNodeCeph, running: Fleet, shared: str, *, mirrored: bool
) -> None:
    content = some_image()
    running.configure(POOL, content, mirrored=mirrored)
    counting = Counting(running.mirror if mirrored else running.registry)

    populated = await running.populate()

    assert [one["outcome"] for one in populated] == ["new", "unchanged", "unchanged"]
    assert [one["layers_built"] for one in populated] == [LAYERS, 0, 0]
    # Each host asks for the manifest, the first one for the config and the layers.
    size = len(HOSTS) * len(content.manifest) + sum(map(len, content.blobs.values()))
    expected = Traffic(looks=0, manifests=len(HOSTS), blobs=LAYERS + 1, size=size)
    traffic = counting.traffic()
    assert traffic == expected
    assert traffic.further <= FURTHER
    assert len(ceph.images(shared)) == LAYERS


async def test_hosts_that_populate_an_rbd_pool_at_once_download_each_layer_once(
    ceph: OneNodeCeph, running: Fleet, shared: str
) -> None:
    content = some_image()
    running.configure(POOL, content)
    counting = Counting(running.registry)

    populated = await running.populate_at_once()

    assert sum(one["layers_built"] for one in populated) == LAYERS
    # Each host can need the config.
    assert LAYERS + 1 <= counting.traffic().blobs <= LAYERS + len(HOSTS)
    assert len(ceph.images(shared)) == LAYERS
