# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images are made, get their names, and are deleted by the process of an RBD pool."""

import asyncio
import os
import signal

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import children_of
from tests.support.rbd_images import SIZE, Job, layer_name
from tests.support.rbd_process import RbdProcess, rbd_process
from virtlayer.errors import Internal, InUse, PoolUnsupported, VolumeNotFound
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing, Purpose

_RECORD = "0" * 64 + ".json"


async def _delete(process: RbdProcess, name: str) -> None:
    lock = await process.ask(rbd.LOCK, Nothing())
    try:
        await process.ask(rbd.DELETE, rbd.DeleteImage(lock.lock, name, _RECORD))
    finally:
        await process.ask(rbd.RELEASE, rbd.Release(lock.lock))


async def test_layers_and_a_volume_are_clones_of_each_other(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        base = await job.layer("a")
        assert base.ours
        assert base.image.name == layer_name("a")
        assert base.image.made
        top = await job.layer("b", parent=layer_name("a"))
        assert top.image.parent == layer_name("a")
        await job.end()

        job = await Job.started(process, Purpose.VOLUME)
        await job.create("volume", layer_name("b"), 2 * SIZE)
        async with job.served("volume") as server:
            await server.io("read -P 0xa 10M 64k", "read -P 0xb 11M 64k", "write -P 1 100M 64k")
        await job.flush("volume")
        placed = await job.place("volume", "web", (_RECORD, b"{}"))
        assert (placed.image.parent, placed.image.size) == (layer_name("b"), 2 * SIZE)
        assert placed.record is not None
        await job.end()

        # The volume is written in objects of 512 KiB, and has not become a parent itself.
        assert "order 19" in ceph.rbd("info", f"{pool.name}/web")
        assert ceph.rbd("snap", "ls", f"{pool.name}/web") == ""
        assert ceph.images(pool.name) == [layer_name("a"), layer_name("b"), "web"]
        users = await process.ask(rbd.USERS, rbd.ImageNames((layer_name("a"), layer_name("b"))))
        assert users.users == {layer_name("b"): (f'the image "{pool.name}/web"',)}

        with pytest.raises(InUse, match="web"):
            await _delete(process, layer_name("b"))
        for name in ("web", layer_name("b"), layer_name("a")):
            await _delete(process, name)
        assert ceph.images(pool.name) == []
        assert ceph.rbd("trash", "ls", "--all", pool.name) == ""


async def test_layer_is_placed_while_the_next_one_is_made(pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.create("v1")
        await job.flush("v1")
        making = [job.create(f"v{number}", "v1") for number in range(2, 6)]
        await asyncio.gather(*making[:2], job.place("v1", layer_name("a")), *making[2:])
        for number in range(2, 6):
            await job.flush(f"v{number}")
            placed = await job.place(f"v{number}", layer_name(str(number)))
            assert placed.image.parent == layer_name("a")


async def test_layer_that_another_job_has_placed_is_used(pool: CephPool) -> None:
    async with rbd_process(pool) as one, rbd_process(pool) as two:
        jobs = [await Job.started(process) for process in (one, two)]
        first = await jobs[0].layer("a")
        second = await jobs[1].layer("a")
        assert first.ours
        assert not second.ours
        assert second.image == first.image
        # Its own one would remain without a name: what is a clone of it is refused.
        await jobs[1].create("child", "va")
        await jobs[1].flush("child")
        with pytest.raises(Exception, match="Try again"):
            await jobs[1].place("child", layer_name("b"))
        for job in jobs:
            await job.end()


async def test_images_of_others_are_neither_deleted_nor_cloned(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a")
        layer = f"{pool.name}/{layer_name('a')}"
        # A clone has the metadata of its parent, but is not marked by that.
        ceph.rbd("clone", f"{layer}@virtlayer", f"{pool.name}/{layer_name('c')}")
        ceph.rbd("snap", "create", f"{pool.name}/{layer_name('c')}@virtlayer")
        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
        assert {image.name: image.made for image in found.images} == {
            layer_name("a"): True,
            layer_name("c"): False,
        }
        with pytest.raises(VolumeNotFound):
            await _delete(process, layer_name("c"))
        with pytest.raises(VolumeNotFound):
            await job.create("x", layer_name("c"))
        with pytest.raises(InUse, match=layer_name("c")):
            await _delete(process, layer_name("a"))
        ceph.rbd("snap", "purge", f"{pool.name}/{layer_name('c')}", "--no-progress")
        ceph.rbd("rm", f"{pool.name}/{layer_name('c')}", "--no-progress")
        ceph.rbd("snap", "create", f"{layer}@mine")
        with pytest.raises(InUse, match='snapshot "mine"'):
            await _delete(process, layer_name("a"))
        users = await process.ask(rbd.USERS, rbd.ImageNames((layer_name("a"), "missing")))
        assert users.users == {layer_name("a"): ('the snapshot "mine"',)}


async def test_layers_that_another_program_has_changed(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a")
        layer = f"{pool.name}/{layer_name('a')}"
        ceph.rbd("resize", layer, "--size", "1G", "--no-progress")
        # A clone is one of the snapshot, which has the former size.
        await job.create("b", layer_name("a"))
        await job.flush("b")
        placed = await job.place("b", layer_name("b"))
        assert (placed.image.parent, placed.image.size) == (layer_name("a"), SIZE)
        with pytest.raises(Internal, match="cannot be a clone"):
            await job.create("smaller", layer_name("a"), SIZE // 2)
        ceph.rbd("snap", "rm", f"{layer}@virtlayer", "--no-progress", "--force")
        with pytest.raises(VolumeNotFound):
            await job.create("c", layer_name("a"))


async def test_clone_in_a_pool_that_cannot_be_read_is_a_user(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    elsewhere = ceph.pool()
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a")
        ceph.rbd("clone", f"{pool.name}/{layer_name('a')}@virtlayer", f"{elsewhere.name}/mine")
        users = await process.ask(rbd.USERS, rbd.ImageNames((layer_name("a"),)))
        assert len(users.users[layer_name("a")]) == 1
        with pytest.raises(InUse):
            await _delete(process, layer_name("a"))
        assert "virtlayer" in ceph.rbd("snap", "ls", f"{pool.name}/{layer_name('a')}")


async def test_open_image_is_in_use(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process(pool) as process, rbd_process(pool) as other:
        job = await Job.started(process, Purpose.VOLUME)
        await job.create("volume")
        async with job.served("volume") as server:
            await server.io("write 0 64k")
            with pytest.raises(Internal, match="being written"):
                await job.flush("volume")
        await job.flush("volume")
        with pytest.raises(Internal, match="finished"):
            async with job.served("volume"):
                pass
        await job.place("volume", "web")
        writer = await asyncio.create_subprocess_exec(
            *("rbd", "bench", "--io-type", "write", "--io-total", "1T", f"{pool.name}/web"),
            env=ceph.environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            while not (await other.ask(rbd.USERS, rbd.ImageNames(("web",)))).users:
                await asyncio.sleep(0.1)
            with pytest.raises(InUse, match="a client at"):
                await _delete(other, "web")
        finally:
            writer.terminate()
            await writer.wait()


async def test_volume_whose_server_was_killed_is_not_finished(pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a")
        job = await Job.started(process, Purpose.VOLUME)
        await job.create("volume", layer_name("a"))
        async with job.served("volume", ends=False) as server:
            await server.io("write 0 64k")
            [child] = children_of(process.pid)
            os.kill(child, signal.SIGKILL)
            await server.wait()
        # The cluster may still have writes of it.
        with pytest.raises(Internal, match="still has the image"):
            await job.flush("volume")


async def test_withdrawn_image_is_removed_with_its_record(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process, Purpose.VOLUME)
        await job.create("volume")
        await job.flush("volume")
        await job.place("volume", "web", (_RECORD, b"{}"))
        await process.ask(rbd.WITHDRAW, rbd.ImageName("web"))
        assert ceph.images(pool.name) == []
        assert (await process.ask(rbd.LIST_RECORDS, rbd.ListRecords(None))).records == ()
        with pytest.raises(Internal, match="not placed"):
            await process.ask(rbd.WITHDRAW, rbd.ImageName("web"))


async def test_unfinished_images_are_removed_with_their_job(
    ceph: OneNodeCeph, pool: CephPool
) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.create("one")
        await job.flush("one")
        await job.create("two", "one")
        async with job.served("two", ends=False) as server:
            await server.io("write 0 64k")
            assert len(ceph.images(pool.name)) == 2
            assert (await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))).images == ()
            await process.ask(rbd.END_SERVER, rbd.EndServer(server.number, kill=True))
            await job.end()
            assert ceph.images(pool.name) == []


async def test_names_of_others_need_not_be_text(ceph: OneNodeCeph, pool: CephPool) -> None:
    for name in ("two\nlines", ".."):
        ceph.rbd("create", "-p", pool.name, "--size", "1M", name)
    async with rbd_process(pool) as process:
        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
        assert [image.name for image in found.images] == ["..", "two\nlines"]
        ceph.rbd("create", "-p", pool.name, "--size", "1M", os.fsdecode(b"\xff"))
        for asking in (
            process.ask(rbd.FIND_IMAGES, rbd.FindImages(None)),
            process.ask(rbd.SWEEP, Nothing()),
        ):
            with pytest.raises(PoolUnsupported, match="not UTF-8"):
                await asking
