# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs in an RBD pool whose cluster is stalled or full: they fail within a minute.

Slow, so only when named: pytest tests/rbd/soak_service.py
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import Content, directory, file, image, layer
from tests.support.job_watch import MANAGER, ROOT, Watch, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import some_image, some_layers
from tests.support.rbd_user import RbdUser, rbd_user
from tests.support.virtlayerd import Daemon

_AT_MOST = 75.0
"""Seconds from a fault to the end of a job: 60, and more on a loaded machine."""


@pytest.fixture
def user(ceph: OneNodeCeph, pool: CephPool, host: LibvirtHost, daemon: Daemon) -> RbdUser:
    return rbd_user(ceph, pool, host, daemon)


@pytest.fixture
async def watch(daemon: Daemon) -> AsyncIterator[Watch]:
    async with watching(daemon.bus.address) as client:
        yield client


async def ended(watch: Watch, job: str) -> tuple[dict[str, Any], float]:
    """The properties of a job at its end, and the seconds until then."""
    began = time.monotonic()
    async with asyncio.timeout(4 * _AT_MOST):
        while not (found := await watch.properties(job, "org.virtlayer1.Job"))["FinishedAt"]:
            await asyncio.sleep(0.5)
    return found, time.monotonic() - began


async def nothing_is_left(user: RbdUser, watch: Watch) -> None:
    """Prune until nothing is left of jobs.

    What was asked while the cluster was stalled can fail later. A process that has ended meanwhile
    has its claims and lock for up to 75 s.
    """
    async with asyncio.timeout(240):
        while True:
            _, job = await watch.ask(ROOT, MANAGER, "Prune", "sa{sv}", user.pool, {})
            found, _ = await ended(watch, job)
            if found["State"] == "done" and not user.unfinished():
                return
            await asyncio.sleep(1)


def waiting_image(registry: FaultyRegistry, *words: str) -> tuple[str, str]:
    """An image whose last blob does not come; its source and the blob."""
    content = image(some_layers(*words))
    digest = json.loads(content.manifest)["layers"][-1]["digest"]
    registry.faults[digest] = Fault.HANG
    return registry.store(content, "demo:1"), digest


async def half_built(user: RbdUser, watch: Watch, source: str) -> str:
    """Start a pull, and wait until it waits for its last blob; the job."""
    job = await watch.pull(source, user.pool, name=Variant("s", "demo"))
    async with asyncio.timeout(60):
        while sorted(name.partition("-")[0] for name in user.images) != ["layer", "virtlayer"]:
            await asyncio.sleep(0.1)
    return job


async def test_a_pull_on_a_stalled_cluster_fails(
    user: RbdUser, watch: Watch, registry: FaultyRegistry
) -> None:
    source, digest = waiting_image(registry, "stall-1", "stall-2")
    job = await half_built(user, watch, source)
    with user.ceph.stalled():
        del registry.faults[digest]
        registry.release()
        found, seconds = await ended(watch, job)
    assert found["Error"].endswith("PoolUnavailable"), found["Message"]
    assert seconds < _AT_MOST
    # What was asked meanwhile can fail later.
    async with asyncio.timeout(240):
        while found["State"] != "done":
            job = await watch.pull(source, user.pool, name=Variant("s", "demo"))
            found, _ = await ended(watch, job)
    assert (found["Result"]["layers-built"], found["Result"]["layers-reused"]) == (1, 1)
    await nothing_is_left(user, watch)


async def test_jobs_that_begin_on_a_stalled_cluster_fail(
    user: RbdUser, watch: Watch, registry: FaultyRegistry
) -> None:
    source = registry.store(some_image("stall-3"), "demo:1")
    await user.pull(source)
    with user.ceph.stalled():
        _, one = await watch.ask(
            ROOT, MANAGER, "CreateVolume", "sssa{sv}", user.pool, "demo", "a", {}
        )
        _, two = await watch.ask(ROOT, MANAGER, "Prune", "sa{sv}", user.pool, {})
        for found, seconds in await asyncio.gather(ended(watch, one), ended(watch, two)):
            assert found["Error"].endswith("PoolUnavailable"), found["Message"]
            assert seconds < _AT_MOST
        # libvirt is not asked to refresh the pool meanwhile, which would deactivate it.
        assert "running" in user.host.virsh("pool-info", user.pool)
    await nothing_is_left(user, watch)
    await user.run("create-volume", "demo", "b", user.pool)


async def test_a_cancel_on_a_stalled_cluster_is_cleaned_up_later(
    user: RbdUser, watch: Watch, registry: FaultyRegistry
) -> None:
    source, _ = waiting_image(registry, "stall-4", "stall-5")
    job = await half_built(user, watch, source)
    with user.ceph.stalled():
        await watch.ask(job, "org.virtlayer1.Job", "Cancel")
        found, seconds = await ended(watch, job)
        assert found["State"] == "cancelled", found["Message"]
        assert seconds < _AT_MOST
    await nothing_is_left(user, watch)


async def test_a_pull_into_a_full_cluster_fails(
    user: RbdUser, watch: Watch, registry: FaultyRegistry
) -> None:
    source, digest = waiting_image(registry, "full-1", "full-2")
    job = await half_built(user, watch, source)
    with user.ceph.full():
        del registry.faults[digest]
        registry.release()
        found, seconds = await ended(watch, job)
        assert found["Error"].endswith("NoSpace"), found["Message"]
        assert f'The Ceph pool "{user.rbd.name}" is full' in found["Message"]
        assert seconds < _AT_MOST
        # What needs no space works.
        await user.run("prune", user.pool)
    await nothing_is_left(user, watch)


async def test_a_large_layer_meets_a_full_cluster(
    user: RbdUser, watch: Watch, registry: FaultyRegistry
) -> None:
    source = registry.store(_large(), "large:1")
    with user.ceph.full():
        job = await watch.pull(source, user.pool, name=Variant("s", "large"))
        found, seconds = await ended(watch, job)
        assert found["Error"].endswith("NoSpace"), found["Message"]
        assert seconds < _AT_MOST
    await nothing_is_left(user, watch)
    assert (await user.pull(source, name="large"))["layers_built"] == 1


def _large() -> Content:
    content = bytes(range(256)) * 4096 * 24
    return image([layer(directory("d"), file("d/large", content))])
