# SPDX-License-Identifier: LGPL-2.1-or-later
"""librbd aborts libvirtd while it refreshes an RBD pool, as it rarely does by itself."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import image
from tests.support.job_watch import watching
from tests.support.librbd_aborts import abort_in_refresh, assert_recovers
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.pool_user import some_image, some_layers
from tests.support.rbd_host_process import connected
from tests.support.rbd_user import RbdUser, rbd_user
from tests.support.virtlayerd import Daemon
from tests.support.waiting import PATIENCE
from virtlayer.errors import PoolUnavailable
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.pools import Pools
from virtlayer.rbd.binding import rbd
from virtlayer.sizes import MIB


@pytest.fixture
def pool(ceph: OneNodeCeph) -> CephPool:
    """A pool with so many images that libvirt's refresh takes half a second."""
    pool = ceph.pool()
    with connected(pool) as connection, connection.open_ioctx(pool.name) as images:
        for number in range(50):
            rbd.RBD().create(images, f"other-{number}", MIB)
    return pool


@pytest.fixture
def user(ceph: OneNodeCeph, pool: CephPool, host: LibvirtHost, daemon: Daemon) -> RbdUser:
    return rbd_user(ceph, pool, host, daemon)


def images_of_jobs(user: RbdUser) -> list[str]:
    """The images that jobs have made, also unfinished ones."""
    return [name for name in user.images if not name.startswith("other-")]


async def until_unfinished(user: RbdUser) -> None:
    """Wait until a pull has placed one layer, and works at the next one."""
    async with asyncio.timeout(PATIENCE):
        while not (user.unfinished() and len(images_of_jobs(user)) == 2):
            await asyncio.sleep(0.1)


async def test_running_pull_is_completed_and_the_next_one_fails_until_libvirtd_is_restarted(
    user: RbdUser, registry: FaultyRegistry
) -> None:
    content = image(some_layers("left", "right"))
    top = json.loads(content.manifest)["layers"][1]["digest"]
    registry.faults[top] = Fault.HANG
    source = registry.store(content, "demo:1")
    other = registry.store(some_image("other"), "other:1")
    async with watching(user.daemon.bus.address) as watch:
        job = await watch.pull(source, user.pool, name=Variant("s", "demo"))
        await until_unfinished(user)
        small = await user.pull(registry.store(some_image("small"), "small:1"), name="small")
        await asyncio.to_thread(abort_in_refresh, user.host)

        # The process of the pool needs no libvirtd.
        del registry.faults[top]
        registry.release()
        pulled = await watch.finished(job)
        assert pulled["State"] == "done", pulled["Message"]
        images = sorted([*small["volumes"], *pulled["Result"]["volumes"]])
        async with asyncio.timeout(PATIENCE):
            while 'cannot refresh the pool "rbd": Cannot connect' not in user.daemon.log:
                await asyncio.sleep(0.1)
        failed = await watch.finished(await watch.pull(other, user.pool))
        assert failed["Error"] == "org.virtlayer1.Error.PoolUnavailable"
        assert failed["Message"].startswith(f"Cannot connect to libvirt at {user.host.uri}: ")
        assert images_of_jobs(user) == images
        for pid in user.daemon.programs:
            assert b"virtlayer.rbd" in Path(f"/proc/{pid}/cmdline").read_bytes()

        await asyncio.to_thread(assert_recovers, user.host, user.ceph)
    again = await user.pull(other, name="other")
    assert images_of_jobs(user) == sorted([*images, *again["volumes"]])
    assert user.host.volumes(user.pool) == user.images


async def test_refresh_fails_and_succeeds_after_a_restart(
    host: LibvirtHost, ceph: OneNodeCeph, pool: CephPool
) -> None:
    pool.define_in(host, "images")
    async with Hypervisor(host.uri) as hypervisor:
        pools = Pools(hypervisor)
        images = await pools.get("images")
        refresh = asyncio.create_task(pools.refresh(images))
        await asyncio.to_thread(abort_in_refresh, host)
        with pytest.raises(PoolUnavailable) as caught:
            await refresh
        assert host.is_unreachable_in(caught.value)
        await asyncio.to_thread(assert_recovers, host, ceph)
        await pools.refresh(images)


def test_libvirtd_that_ends_by_another_signal_was_not_aborted_by_librbd() -> None:
    with private_host() as host:
        os.kill(host.pid, signal.SIGSEGV)
        assert host.librbd_abort(wait=True) is None
        with pytest.raises(AssertionError, match="has ended with status -11"):
            host.assert_running()
