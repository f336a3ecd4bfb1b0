# SPDX-License-Identifier: LGPL-2.1-or-later
"""RBD pools as the keeper has them: volumes, their users, and what libvirt lists."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import RawKeeper, raw_keeper
from tests.support.waiting import PATIENCE
from virtlayer.errors import (
    Internal,
    PoolUnavailable,
    PoolUnsupported,
    VolumeExists,
    VolumeNotFound,
)
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.kind import Claim, PoolKind
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.kinds.rbd import listing
from virtlayer.keeper.kinds.rbd.process import own_process
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.calls import ExpectedVolume, Purpose
from virtlayer.protocol.memory_files import new_memory_file, seal
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.sizes import MIB

BASE, TOP = (f"layer-{digit * 64}" for digit in "ab")
_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='{type}' device='disk'>{source}<target dev='vda' bus='virtio'/></disk>
  </devices>
</domain>
"""


@pytest.fixture
async def pools(host: LibvirtHost) -> AsyncIterator[Pools]:
    async with Hypervisor(host.uri) as hypervisor:
        yield Pools(hypervisor)


@pytest.fixture
async def kind(host: LibvirtHost, pools: Pools) -> AsyncIterator[PoolKind]:
    """What the keeper does with RBD pools."""
    async with Hypervisor(host.uri) as hypervisor:
        kinds = Kinds(hypervisor, pools, own_process)
        yield kinds.of(Pool("any", "", "rbd", Path("any")))
        await kinds.close()


@pytest.fixture
async def images(host: LibvirtHost, pool: CephPool, pools: Pools) -> Pool:
    """The pool of the test, as libvirt has it."""
    pool.define_in(host, pool.name)
    return await pools.get(pool.name)


@pytest.fixture
async def claim(kind: PoolKind, images: Pool) -> AsyncIterator[Claim]:
    """A claim in that pool."""
    claim = await kind.claim(images, [BASE, TOP, "web"])
    yield claim
    await claim.end()


async def placed(
    kind: PoolKind,
    claim: Claim,
    name: str,
    backing: str | None = None,
    purpose: Purpose = Purpose.LAYERS,
) -> Placed:
    """Make an image, and give it its name."""
    async with kind.stage(claim, purpose) as place:
        await place.create_overlay("v1", 4 * MIB, backing)
        await place.flush("v1")
        return await place.place("v1", name, None)


async def registered(
    kind: PoolKind, claim: Claim, name: str, backing: str | None = None, purpose: str = "layers"
) -> Placed:
    """Make an image, and let libvirt find it."""
    made = await placed(kind, claim, name, backing, Purpose(purpose))
    expected = {made: ExpectedVolume(name, backing, ("raw",))}
    await kind.register(claim.pool, expected, never_removing)
    return made


def never_removing(name: str) -> AbstractAsyncContextManager[None]:
    """Let nothing be removed."""
    raise AssertionError(f"{name} was to be removed")


def listed(host: LibvirtHost, pool: Pool) -> list[str]:
    """What libvirt lists without a refresh."""
    lines = host.virsh("vol-list", pool.name).splitlines()[2:]
    return sorted(line.split()[0] for line in lines if line.strip())


async def until_listed(host: LibvirtHost, pool: Pool, *names: str) -> None:
    """Wait until libvirt lists these volumes."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(listed, host, pool) != sorted(names):
            await asyncio.sleep(0.1)


def sealed(content: bytes) -> int:
    """A memory file with a record, which is closed when nothing refers to it."""
    file = new_memory_file()
    os.write(file, content)
    seal(file)
    return file


async def contents(kind: PoolKind, pool: Pool, file: str) -> bytes:
    """The content of a record."""
    read, descriptor = await kind.read_records(pool, (file,))
    [found] = read.records
    try:
        return os.pread(descriptor, found.length, 0)
    finally:
        os.close(descriptor)


async def test_images_are_volumes_of_the_pool(
    ceph: OneNodeCeph, kind: PoolKind, images: Pool, claim: Claim
) -> None:
    ceph.rbd("create", "-p", str(images.path), "--size", "1M", "of-another-program")
    base, top = await placed(kind, claim, BASE), await placed(kind, claim, TOP, BASE)
    assert (base.ours, base.path, top.path) == (True, images.path / BASE, images.path / TOP)
    found = {one.name: one for one in await kind.all_volumes(images, refresh=True)}
    assert found.keys() == {BASE, TOP, "of-another-program"}
    assert (found[TOP].format, found[TOP].capacity) == ("raw", 4 * MIB)
    assert (found[TOP].backing_in(images), found[BASE].backing_path) == (BASE, None)
    named = await kind.volumes(images, [TOP, "nowhere", ".dotted"], refresh=False)
    assert [one.name for one in named] == [TOP]
    assert (await kind.find(images, [BASE, "nowhere"])).keys() == {BASE}
    assert await kind.space(images) is None


async def test_new_image_has_another_stamp(kind: PoolKind, images: Pool, claim: Claim) -> None:
    first = await kind.find(images, [(await placed(kind, claim, BASE)).path.name])
    lock = await kind.lock(images)
    await kind.delete(lock, BASE)
    await lock.release()
    await placed(kind, claim, BASE)
    assert await kind.find(images, [BASE]) != first


async def test_libvirt_lists_placed_and_removed_images_soon(
    host: LibvirtHost,
    kind: PoolKind,
    images: Pool,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert listing.INTERVAL < 10
    monkeypatch.setattr(listing, "INTERVAL", 2.0)
    await registered(kind, claim, BASE)
    await until_listed(host, images, BASE)
    made = await registered(kind, claim, TOP, BASE)
    await until_listed(host, images, BASE, TOP)
    await kind.withdraw(images, made)
    await until_listed(host, images, BASE)


async def test_libvirt_looks_at_no_pool_of_a_stalled_cluster(
    host: LibvirtHost,
    ceph: OneNodeCeph,
    kind: PoolKind,
    images: Pool,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "INTERVAL", 1.5)
    monkeypatch.setattr(listing, "_PROBE_SECONDS", 0.5)
    await registered(kind, claim, BASE)
    with ceph.stalled():
        # Several attempts, during which libvirt must answer at once.
        await asyncio.sleep(4)
        began = time.monotonic()
        assert listed(host, images) == []
        # It gives up a cluster after 30 seconds.
        assert time.monotonic() - began < 25
    await until_listed(host, images, BASE)


async def test_image_that_is_not_as_expected_is_reported(
    ceph: OneNodeCeph, kind: PoolKind, images: Pool, claim: Claim
) -> None:
    made = await placed(kind, claim, BASE)
    other = {made: ExpectedVolume(BASE, TOP, ("raw",))}
    created = f'"{BASE}" was created in the pool "{images.name}"'
    with pytest.raises(VolumeExists, match=created):
        await kind.register(images, other, never_removing)
    ceph.rbd("snap", "rm", f"{images.path}/{BASE}@virtlayer")
    ceph.rbd("rm", "--no-progress", f"{images.path}/{BASE}")
    right = {made: ExpectedVolume(BASE, None, ("raw",))}
    with pytest.raises(PoolUnavailable, match="was deleted during the job"):
        await kind.register(images, right, never_removing)
    ceph.rbd("create", "-p", str(images.path), "--size", "4M", BASE)
    with pytest.raises(VolumeExists, match=created):
        await kind.register(images, right, never_removing)


async def test_record_is_placed_read_changed_and_deleted(
    kind: PoolKind, images: Pool, claim: Claim
) -> None:
    file = record_file(RecordKind.VOLUME, "web")
    async with kind.stage(claim, Purpose.VOLUME) as place:
        await place.create_overlay("v1", 4 * MIB, None)
        await place.flush("v1")
        made = await place.place("v1", "web", sealed(b'{"made": 1}'))
    assert made.record is not None
    [found] = (await kind.list_records(images, None)).records
    assert (found.file, found.stamp) == (file, made.record.stamp)
    assert await contents(kind, images, file) == b'{"made": 1}'
    put = await kind.put_record(claim, file, made.record.stamp, sealed(b"2"), durable=True)
    assert (put.changed, await contents(kind, images, file)) == (False, b"2")
    lock = await kind.lock(images)
    assert lock.claimed() == {BASE, TOP, "web"}
    assert lock.claimed(but_for=claim.name) == frozenset()
    assert (await kind.put_record(lock, file, put.stamp, None, durable=True)).stamp is None
    await lock.release()
    assert (await kind.list_records(images, None)).records == ()


async def test_image_is_served_until_it_is_asked_to_end(
    kind: PoolKind, claim: Claim, tmp_path: Path
) -> None:
    request = StartProgram(kind=Kind.IMAGE_SERVER, image="v1", writable=True)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "nbd"))
        server.listen()
        async with kind.stage(claim, Purpose.LAYERS) as place:
            await place.create_overlay("v1", 4 * MIB, None)
            async with place.running(request, [server.fileno()]) as program:
                client.connect(str(tmp_path / "nbd"))
                assert await asyncio.to_thread(client.recv, 8) == b"NBDMAGIC"
                client.close()
                pidfd = program.open_pidfd()
                program.terminate()
                waiting = [program.wait() for _ in range(3)]
                assert await asyncio.gather(*waiting) == [0, 0, 0]
                assert program.returncode == 0
            os.close(pidfd)
            with pytest.raises(Internal, match="cannot run in this staging place"):
                place.running(StartProgram(kind=Kind.STORAGE_DAEMON), [])


async def test_job_can_end_and_another_begin_after_its_process_was_killed(
    kind: PoolKind, images: Pool
) -> None:
    claim = await kind.claim(images, [BASE])
    async with kind.stage(claim, Purpose.LAYERS) as place:
        await place.create_overlay("v1", 4 * MIB, None)
        for pid in children_of(os.getpid()):
            if b"virtlayer.rbd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(PoolUnavailable, match=f'process of the pool "{images.name}"'):
            await place.flush("v1")
    await claim.end()
    await (await kind.claim(images, [BASE])).end()
    # What has its name is not there, and what has none is swept when the claim has expired.
    assert await kind.all_volumes(images, refresh=True) == []


@pytest.mark.parametrize("purpose", [Purpose.DIRECTORY, Purpose.DISK])
async def test_directories_and_disk_images_are_refused(
    kind: PoolKind, claim: Claim, purpose: Purpose
) -> None:
    with pytest.raises(PoolUnsupported, match="type rbd, which cannot hold"):
        async with kind.stage(claim, purpose):
            pass


async def test_only_images_of_ours_are_given_to_domains(
    ceph: OneNodeCeph, kind: PoolKind, images: Pool, claim: Claim
) -> None:
    ceph.rbd("create", "-p", str(images.path), "--size", "1M", "other")
    await placed(kind, claim, "web", None, Purpose.VOLUME)
    await kind.check_made(images, "web", is_directory=False)
    for name, is_directory in (("other", False), ("web", True), ("nowhere", False)):
        with pytest.raises(VolumeNotFound, match=name):
            await kind.check_made(images, name, is_directory=is_directory)


def define(host: LibvirtHost, name: str, kind: str, source: str) -> None:
    """Define a domain with one disk."""
    path = host.directory / "domain.xml"
    path.write_text(_DOMAIN.format(name=name, type=kind, source=source))
    host.virsh("define", str(path))


async def test_users_are_clones_snapshots_and_domains(
    host: LibvirtHost,
    ceph: OneNodeCeph,
    pool: CephPool,
    kind: PoolKind,
    images: Pool,
    claim: Claim,
) -> None:
    await placed(kind, claim, BASE)
    await placed(kind, claim, TOP, BASE)
    await placed(kind, claim, "web", TOP, Purpose.VOLUME)
    await placed(kind, claim, "db", TOP, Purpose.VOLUME)
    ceph.rbd("snap", "create", f"{pool.name}/db@mine")
    monitor = f"<host name='127.0.0.1' port='{pool.port}'/>"
    disk = f"<source protocol='rbd' name='{pool.name}/web'>{monitor}</source>"
    define(host, "by-network", "network", disk)
    pool.define_in(host, "same", start=False)
    define(host, "by-volume", "volume", "<source pool='same' volume='web'/>")
    elsewhere = f"<source protocol='rbd' name='other/db'>{monitor}</source>"
    define(host, "elsewhere", "network", elsewhere)
    usage = await kind.users(images, [BASE, TOP], of=[BASE, TOP, "web", "db"])
    unknown = await kind.users(images, [BASE], of=[BASE])
    assert usage.users == {
        TOP: (f'the image "{pool.name}/db"', f'the image "{pool.name}/web"'),
        "web": ('the domain "by-network"', 'the domain "by-volume"'),
        "db": ('the snapshot "mine"',),
    }
    # A layer that the service does not know counts as a user.
    assert unknown.users[BASE] == (f'the volume "{TOP}" in "{images.name}"',)


async def test_images_are_deleted_only_if_nothing_uses_them(
    host: LibvirtHost, ceph: OneNodeCeph, kind: PoolKind, images: Pool, claim: Claim
) -> None:
    await placed(kind, claim, BASE)
    await placed(kind, claim, TOP, BASE)
    await placed(kind, claim, "web", TOP, Purpose.VOLUME)
    ceph.rbd("create", "-p", str(images.path), "--size", "1M", "other")
    await claim.end()
    disk = f"<source protocol='rbd' name='{images.path}/web'/>"
    define(host, "stopped", "network", disk)
    with raw_keeper(host.uri) as keeper:
        keeper.get("find-pool", name=images.name)
        refused = await asyncio.to_thread(deletion, keeper, images, "web", TOP)
        assert (refused["names"], refused["error"]) == ([], "InUse")
        assert 'is used by the domain "stopped"' in refused["text"]
        host.virsh("undefine", "stopped")
        refused = await asyncio.to_thread(deletion, keeper, images, TOP, BASE)
        assert (refused["names"], refused["error"]) == ([], "InUse")
        assert f'is used by the image "{images.path}/web"' in refused["text"]
        done = await asyncio.to_thread(deletion, keeper, images, "web", TOP, BASE, "other")
        assert (done["names"], done["error"]) == (["web", TOP, BASE], "VolumeNotFound")
    assert ceph.images(str(images.path)) == ["other"]


def deletion(keeper: RawKeeper, pool: Pool, *names: str) -> dict[str, Any]:
    """Ask for a deletion, with the lock of the pool; what became of it."""
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    done: dict[str, Any] = keeper.get("delete", pool=pool.uuid, lock=lock, names=names)
    keeper.get("release", number=lock, failed=False)
    return done


async def test_stalled_cluster_does_not_delay_deletions_in_directories(
    host: LibvirtHost, ceph: OneNodeCeph, images: Pool
) -> None:
    assert images.kind == "rbd"
    path = host.start_pool("files")
    (path / f"{BASE}.qcow2").touch()
    host.virsh("pool-refresh", "files")
    with ceph.stalled(), raw_keeper(host.uri) as keeper:
        uuid = keeper.get("find-pool", name="files")["uuid"]
        lock = keeper.get("lock", pool=uuid)["lock"]
        began = time.monotonic()
        keeper.get("users", pool=uuid, names=[f"{BASE}.qcow2"])
        assert time.monotonic() - began < 25
        keeper.get("release", number=lock, failed=False)
