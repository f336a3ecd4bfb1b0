# SPDX-License-Identifier: LGPL-2.1-or-later
"""Chains in a real pool, by the real worker: whole, shared, and nothing else left."""

import asyncio
import json
import shutil
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.chain_parts import SIZE, Chains, Store, request_for, small_layers
from tests.support.images import directory, file, layer, whiteout
from tests.support.keeper import LocalPrograms, running_keeper
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.volumes import assert_sound
from tests.support.waiting import until
from virtlayer.errors import ImageNotFound, VolumeExists
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings


def backing_chain(path: Path) -> list[str]:
    """The names of the images from the top down, each opened by qemu."""
    output = subprocess.check_output(
        ["qemu-img", "info", "--backing-chain", "--output=json", path], text=True
    )
    return [Path(image["filename"]).name for image in json.loads(output)]


def raw_copy(volume: Path, target: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-O", "raw", volume, target], check=True)
    return target


def file_in(raw: Path, path: str) -> str:
    return subprocess.check_output(
        ["debugfs", "-R", f"cat {path}", raw], stderr=subprocess.DEVNULL, text=True
    )


async def test_layers_become_a_chain_that_libvirt_and_qemu_see(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker, tmp_path: Path
) -> None:
    contents = [
        layer(directory("etc"), file("etc/a", b"one"), file("etc/b", b"base")),
        layer(file("etc/a", b"two"), compression="zstd"),
        layer(whiteout("etc/b"), file("etc/c", b"top"), compression="none"),
    ]
    store = Store(contents, worker)
    built = await Chains(keeper).build(request_for(pool, contents), store.tools())

    assert (built.layers_built, built.layers_reused) == (3, 0)
    names = [volume.name for volume in built.volumes]
    assert host.volumes(pool.name) == sorted(names)
    assert names_in(pool.path) == sorted(names)
    assert backing_chain(pool.path / names[-1]) == names[::-1]
    for below, volume in zip([None, *built.volumes], built.volumes, strict=False):
        assert (volume.format, volume.capacity) == ("qcow2", SIZE)
        assert volume.backing_path == (None if below is None else below.path)
        assert stat.S_IMODE(volume.path.stat().st_mode) == 0o440
        subprocess.run(["qemu-img", "check", "-q", volume.path], check=True)
        assert_sound(raw_copy(volume.path, tmp_path / volume.name))
    top = tmp_path / names[-1]
    assert [file_in(top, f"/etc/{name}") for name in "abc"] == ["two", "", "top"]

    assert store.recorded == names
    size = sum(content.size for content in contents)
    assert (store.bytes_total, store.bytes_downloaded, store.bytes_applied) == (size,) * 3
    assert (store.layers_total, store.layers_done) == (3, 3)
    assert store.stages[-1] == "registering"
    assert store.all_applied
    assert store.lent == 0


@pytest.mark.root
async def test_layer_can_be_read_by_qemu_and_by_no_other_user(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(2)
    built = await Chains(keeper).build(request_for(pool, contents), Store(contents, worker).tools())
    capabilities = ElementTree.fromstring(host.virsh("capabilities"))  # noqa: S314 -- libvirt's
    [label] = [
        one.findtext("baselabel[@type='kvm']") or ""
        for one in capabilities.iterfind("host/secmodel[model='dac']")
    ]
    uid, gid = label.replace("+", "").split(":")
    assert 0 not in (int(uid), int(gid))
    for volume in built.volumes:
        info = volume.path.stat()
        assert (info.st_uid, info.st_gid) == (0, int(gid))
        read = ("head", "-c1", str(volume.path))
        qemu = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
        assert subprocess.run([*qemu, *read], capture_output=True, check=True).stdout == b"Q"
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        refused = subprocess.run([*nobody, *read], capture_output=True, check=False)
        assert b"Permission denied" in refused.stderr


async def test_existing_volumes_are_neither_fetched_nor_built(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(3)
    first, again, longer = (Store(contents, worker) for _ in range(3))
    builder = Chains(keeper)
    built = await builder.build(request_for(pool, contents[:2]), first.tools())
    inodes = [volume.path.stat().st_ino for volume in built.volumes]

    reused = await builder.build(request_for(pool, contents[:2]), again.tools())
    assert reused.volumes == built.volumes
    assert (reused.layers_built, reused.layers_reused) == (0, 2)
    assert (again.fetched, again.applied, again.bytes_total) == ([], [], 0)

    extended = await builder.build(request_for(pool, contents), longer.tools())
    assert (extended.layers_built, extended.layers_reused) == (1, 2)
    assert longer.fetched == [contents[2].digest]
    assert [volume.path.stat().st_ino for volume in extended.volumes[:2]] == inodes


async def test_forty_layers_are_sixteen_volumes_that_can_be_moved(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker, tmp_path: Path
) -> None:
    contents = small_layers(40)
    store = Store(contents, worker)
    built = await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert len(built.volumes) == 16
    assert (built.layers_built, built.layers_reused) == (40, 0)
    assert len(host.volumes(pool.name)) == 16
    assert store.applied == [content.diff_id for content in contents]

    moved = tmp_path / "moved"
    shutil.move(pool.path, moved)
    pool.path.mkdir()
    names = [volume.name for volume in built.volumes]
    assert backing_chain(moved / names[-1]) == names[::-1]
    raw = raw_copy(moved / names[-1], tmp_path / "top.raw")
    assert_sound(raw)
    assert file_in(raw, "/etc/file-00") == "layer 0\n"
    assert file_in(raw, "/etc/file-39") == "layer 39\n"


async def test_another_last_layer_of_a_deep_image_is_all_that_is_built(
    keeper: Keeper, pool: Pool, worker: LayerWorker, tmp_path: Path
) -> None:
    contents = small_layers(41)
    first, second = (Store(contents, worker) for _ in range(2))
    builder = Chains(keeper)
    old = await builder.build(request_for(pool, contents[:40]), first.tools())
    new = await builder.build(request_for(pool, contents[:39] + contents[40:]), second.tools())
    assert second.fetched == [contents[40].digest]
    assert second.applied == [contents[40].diff_id]
    assert (new.layers_built, new.layers_reused) == (1, 39)
    assert new.volumes[:-1] == old.volumes[:-1]
    raw = raw_copy(new.volumes[-1].path, tmp_path / "top.raw")
    assert_sound(raw)
    assert file_in(raw, "/etc/file-38") == "layer 38\n"
    assert file_in(raw, "/etc/file-40") == "layer 40\n"
    assert file_in(raw, "/etc/file-39") == ""


async def test_a_missing_lower_volume_is_built_again(
    keeper: Keeper, pool: Pool, worker: LayerWorker, tmp_path: Path
) -> None:
    contents = small_layers(3)
    builder = Chains(keeper)
    store = Store(contents, worker)
    built = await builder.build(request_for(pool, contents), store.tools())
    before = raw_copy(built.volumes[-1].path, tmp_path / "before.raw").read_bytes()
    built.volumes[1].path.unlink()
    await keeper.pools.all_volumes(pool, refresh=True)

    store = Store(contents, worker)
    again = await builder.build(request_for(pool, contents), store.tools())
    assert store.fetched == [contents[1].digest]
    assert [volume.name for volume in again.volumes] == [volume.name for volume in built.volumes]
    assert raw_copy(again.volumes[-1].path, tmp_path / "after.raw").read_bytes() == before


async def test_volumes_of_others_are_reused_after_their_blobs_were_downloaded(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(4)
    builder = Chains(keeper)
    built = await builder.build(request_for(pool, contents[:3]), Store(contents, worker).tools())
    others = [contents[0].digest, contents[2].digest]
    store = Store(contents, worker, others=others)
    reused = await builder.build(request_for(pool, contents), store.tools())
    assert (reused.layers_built, reused.layers_reused) == (1, 3)
    assert reused.volumes[:3] == built.volumes
    assert sorted(store.fetched) == sorted([*others, contents[3].digest])
    assert store.applied == [contents[3].diff_id]
    size = sum(contents[number].size for number in (0, 2, 3))
    assert (store.bytes_total, store.bytes_downloaded, store.bytes_applied) == (size,) * 3
    assert (store.layers_total, store.layers_done) == (3, 3)
    assert store.stages[0] == "downloading"
    assert store.lent == 0


async def test_unproven_volumes_of_others_are_not_built_on(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(2)
    builder = Chains(keeper)
    await builder.build(request_for(pool, contents[:1]), Store(contents, worker).tools())
    volumes = host.volumes(pool.name)

    def fail(_digest: str) -> None:
        raise ImageNotFound("The registry does not have it.")

    store = Store(contents, worker, others=[contents[0].digest], before_fetch=fail)
    with pytest.raises(ImageNotFound):
        await builder.build(request_for(pool, contents), store.tools())
    assert (store.fetched, store.applied) == ([contents[0].digest], [])
    assert host.volumes(pool.name) == volumes


async def test_volume_of_others_that_is_built_meanwhile_is_proven_too(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(2)
    builder = Chains(keeper)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_digest: str) -> None:
        started.set()
        await go_on.wait()

    slow = Store(contents, worker, before_fetch=wait)
    other = Store(contents, worker, others=[content.digest for content in contents])
    first = asyncio.create_task(builder.build(request_for(pool, contents), slow.tools()))
    await started.wait()
    second = asyncio.create_task(builder.build(request_for(pool, contents), other.tools()))
    await until(lambda: other.layers_total)
    go_on.set()
    assert (await first).layers_built == 2
    assert (await second).layers_reused == 2
    assert sorted(other.fetched) == sorted(content.digest for content in contents)
    assert other.applied == []
    assert other.bytes_downloaded == other.bytes_applied == other.bytes_total
    assert (other.layers_total, other.layers_done) == (2, 2)


async def test_build_from_a_slow_source_holds_up_no_other(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(2)
    builder = Chains(keeper)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_digest: str) -> None:
        started.set()
        await go_on.wait()

    slow, quick = Store(contents, worker, half_way=wait), Store(contents, worker)
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as other_worker:
        slow.applier = other_worker
        requests = [request_for(pool, contents, source=source) for source in ("slow", "quick")]
        first = asyncio.create_task(builder.build(requests[0], slow.tools()))
        await started.wait()
        built = await builder.build(requests[1], quick.tools())
        go_on.set()
        assert (await first).volumes == built.volumes
    assert (built.layers_built, quick.layers_done) == (2, 2)
    assert host.volumes(pool.name) == sorted(volume.name for volume in built.volumes)


async def test_jobs_that_need_the_same_layers_build_them_once(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(4)
    builder = Chains(keeper)
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as other_worker:
        stores = [Store(contents, worker), Store(contents, other_worker)]
        requests = [request_for(pool, contents), request_for(pool, contents[:3])]
        results = await asyncio.gather(
            *(
                builder.build(request, store.tools())
                for request, store in zip(requests, stores, strict=True)
            )
        )
    applied = stores[0].applied + stores[1].applied
    assert sorted(applied) == sorted(content.diff_id for content in contents)
    assert sum(result.layers_built for result in results) == 4
    assert results[0].volumes[:3] == results[1].volumes
    for store in stores:
        assert store.bytes_downloaded == store.bytes_applied == store.bytes_total


async def test_a_job_that_waited_for_one_that_fails_builds_itself(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(2)
    builder = Chains(keeper)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def fail(_digest: str) -> None:
        started.set()
        await go_on.wait()
        raise ZeroDivisionError

    failing = Store(contents, worker, before_fetch=fail)
    waiting = Store(contents, worker)
    first = asyncio.create_task(builder.build(request_for(pool, contents), failing.tools()))
    await started.wait()
    second = asyncio.create_task(builder.build(request_for(pool, contents), waiting.tools()))
    await until(lambda: any(lock._waiters for lock in builder.builder._locks.values()))
    assert waiting.fetched == []
    go_on.set()
    with pytest.raises(ZeroDivisionError):
        await first
    assert (await second).layers_built == 2


async def test_two_daemons_in_one_pool_do_not_interfere(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(4)
    with nothing_left():
        async with (
            running_keeper(host.uri) as other_keeper,
            LayerWorker.started(LocalPrograms(), LayerSettings()) as other_worker,
        ):
            stores = [Store(contents, worker), Store(contents, other_worker)]
            builders = [Chains(keeper), Chains(other_keeper)]
            one, other = await asyncio.gather(
                *(
                    builder.build(request_for(pool, contents), store.tools())
                    for builder, store in zip(builders, stores, strict=True)
                )
            )
    assert [volume.name for volume in one.volumes] == [volume.name for volume in other.volumes]
    assert host.volumes(pool.name) == sorted(volume.name for volume in one.volumes)
    assert len(backing_chain(one.volumes[-1].path)) == 4


async def test_blobs_arrive_ahead_but_not_all_at_a_time(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(8)
    arriving: set[str] = set()
    most = 0
    three_arrive, all_have_arrived = asyncio.Event(), asyncio.Event()

    async def count(digest: str) -> None:
        nonlocal most
        arriving.add(digest)
        most = max(most, len(arriving))
        if len(arriving) == 3:
            three_arrive.set()
        await three_arrive.wait()
        arriving.remove(digest)
        if digest == contents[-1].digest:
            all_have_arrived.set()

    async def wait_for_all(_diff_id: str) -> None:
        await all_have_arrived.wait()

    store = Store(contents, worker, before_fetch=count, before_apply=wait_for_all)
    await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert most == 3
    assert store.fetched == [content.digest for content in contents]


async def test_something_else_under_a_layers_name_is_not_touched(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(1)
    request = request_for(pool, contents)
    path = pool.path / request.plan[0].name
    for arguments in (("raw", str(SIZE)), ("qcow2", str(SIZE * 2))):
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", arguments[0], path, arguments[1]], check=True
        )
        inode = path.stat().st_ino
        with pytest.raises(VolumeExists, match="Delete it, then try again"):
            await Chains(keeper).build(request, Store(contents, worker).tools())
        assert path.stat().st_ino == inode
        path.unlink()
