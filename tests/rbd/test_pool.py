# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process of an RBD pool opens it and describes it."""

import json
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_host_process import connected
from tests.support.rbd_images import Job, layer_name
from tests.support.rbd_process import rbd_process
from virtlayer.errors import Internal, PoolUnavailable, PoolUnsupported
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.names import VolumeName
from virtlayer.rbd.images import describe
from virtlayer.sizes import MIB


async def test_open_names_the_cluster_and_the_pool(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process() as process:
        opened = await process.open(pool)
        assert opened.cluster == ceph.fsid
        assert f"pool {opened.pool_id} '{pool.name}'" in ceph.ceph("osd", "pool", "ls", "detail")
        space = await process.ask(rbd.SPACE, Nothing())
        # This cluster has no manager.
        assert space == rbd.RbdSpace(0, 0)
        with pytest.raises(Internal, match="open already"):
            await process.open(pool)


async def test_images_are_described_with_their_parents(ceph: OneNodeCeph, pool: CephPool) -> None:
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "base")
    ceph.rbd("snap", "create", f"{pool.name}/base@one")
    ceph.rbd("clone", f"{pool.name}/base@one", f"{pool.name}/clone")
    ceph.rbd("create", "-p", pool.name, "--size", "1M", f"virtlayer-unfinished-{'0' * 32}-v1")
    async with rbd_process(pool) as process:
        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
        by_name = {image.name: image for image in found.images}
        assert list(by_name) == ["base", "clone"]
        assert by_name["clone"].parent == "base"
        assert by_name["base"].size == 2**20
        assert not by_name["base"].made
        some = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(("clone", "missing")))
        assert some.images == (by_name["clone"],)


async def test_many_images_are_described_as_each_one(ceph: OneNodeCeph, pool: CephPool) -> None:
    elsewhere = ceph.pool()
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a")
        await job.layer("b", layer_name("a"))
        layer = f"{pool.name}/{layer_name('b')}"
        for clone in ("clone", "smaller", "larger", "flat", "detached"):
            ceph.rbd("clone", f"{layer}@virtlayer", f"{pool.name}/{clone}")
        ceph.rbd(
            "resize", f"{pool.name}/smaller", "--size", "1M", "--allow-shrink", "--no-progress"
        )
        ceph.rbd("resize", f"{pool.name}/larger", "--size", "1G", "--no-progress")
        ceph.rbd("snap", "create", f"{pool.name}/detached@before")
        for flat in ("flat", "detached"):
            ceph.rbd("flatten", f"{pool.name}/{flat}", "--no-progress")
        ceph.rbd("create", f"{elsewhere.name}/base", "--size", "1M")
        ceph.rbd("snap", "create", f"{elsewhere.name}/base@one")
        ceph.rbd("clone", f"{elsewhere.name}/base@one", f"{pool.name}/foreign")
        await job.create("unfinished", layer_name("a"))

        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
        names = [image.name for image in found.images]
        assert len(names) == 8
        with connected(pool) as connection, connection.open_ioctx(pool.name) as images:
            # librbd may not open an image whose parent the user may not read.
            expected = [describe(images, name) for name in names if name != "foreign"]
        assert [image for image in found.images if image.name != "foreign"] == expected
        for name, image in zip(names, found.images, strict=True):
            alone = await process.ask(rbd.FIND_IMAGES, rbd.FindImages((VolumeName(name),)))
            assert alone.images == (image,)
        parents = {image.name: image.parent for image in found.images}
        assert parents["clone"] == parents["larger"] == layer_name("b")
        assert parents["flat"] == parents["foreign"] == ""


async def test_an_image_is_measured_on_request(
    ceph: OneNodeCeph, pool: CephPool, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"x" * 5 * MIB)
    ceph.rbd("import", "--no-progress", str(content), f"{pool.name}/full")
    used = json.loads(ceph.rbd("--format=json", "du", f"{pool.name}/full"))
    async with rbd_process(pool) as process:
        found = await process.ask(rbd.FIND_IMAGES, rbd.FindImages(("full",), measure=True))
        assert found.images[0].allocation == used["images"][0]["used_size"] >= 5 * MIB


async def test_wrong_key_is_reported(ceph: OneNodeCeph, pool: CephPool) -> None:
    wrong = CephPool(pool.name, pool.user, ceph.another_key(), pool.port)
    async with rbd_process() as process:
        with pytest.raises(PoolUnavailable, match="refuses the key") as caught:
            await process.open(wrong)
        assert wrong.key not in caught.value.message
        # A second attempt may have the right one.
        await process.open(pool)


async def test_missing_pool_is_reported(pool: CephPool) -> None:
    async with rbd_process() as process:
        with pytest.raises(PoolUnavailable, match='no pool "missing"'):
            await process.open(CephPool("missing", pool.user, pool.key, pool.port))


async def test_user_of_another_pool_is_refused(ceph: OneNodeCeph, pool: CephPool) -> None:
    other = ceph.user("other", pool.name, osd="profile rbd pool=elsewhere")
    async with rbd_process() as process:
        with pytest.raises(PoolUnavailable, match="profile rbd"):
            await process.open(other)


async def test_nothing_is_answered_before_the_pool_is_open() -> None:
    async with rbd_process() as process:
        with pytest.raises(Internal, match="not open"):
            await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))


async def test_missing_modules_are_named() -> None:
    without = "import sys; sys.modules['rbd'] = None; from virtlayer.rbd.main import main; main()"
    async with rbd_process(program=("-c", without)) as process:
        with pytest.raises(PoolUnsupported, match="Install python3-rados and python3-rbd"):
            await process.open(CephPool("images", "user", "AAAA", 1))
