# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and volumes through libvirt: what is refused, what is found, how often it is refreshed."""

import asyncio
import subprocess
import threading
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.slow_creation import slow_creation
from tests.support.small_filesystem import small_filesystem
from tests.support.waiting import PATIENCE
from virtlayer.errors import Libvirt, PoolInactive, PoolNotFound, PoolUnsupported
from virtlayer.keeper import described_volumes
from virtlayer.keeper import pools as pools_module
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.kinds.directory.kind import DirectoryKind
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool

MIB = 1024**2
GIB = 1024**3

_UNSUPPORTED = {
    "logical": "<source><name>vg</name></source><target><path>/dev/vg</path></target>",
    "disk": "<source><device path='/dev/nothing'/></source><target><path>/dev</path></target>",
    "iscsi": "<source><host name='host.example'/><device path='iqn.2013-06.com.example:x'/>"
    "</source><target><path>/dev/disk/by-path</path></target>",
}


def make_qcow2(path: Path, *, backing: str | None = None) -> None:
    arguments = [] if backing is None else ["-u", "-b", backing, "-F", "qcow2"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *arguments, path, str(GIB)], check=True
    )


async def test_missing_pool_is_named_with_the_existing_pools(pools: Pools, pool: Pool) -> None:
    with pytest.raises(PoolNotFound, match=f'"nowhere".*{pool.name}'):
        await pools.get("nowhere")


async def test_inactive_pool_is_refused_with_a_remedy(host: LibvirtHost, pools: Pools) -> None:
    host.define_pool("asleep")
    with pytest.raises(PoolInactive, match=r"virsh --connect .* pool-start asleep"):
        await pools.get("asleep")
    host.virsh("pool-undefine", "asleep")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("logical", "Make a logical volume with a file system, and a pool of type fs with it"),
        ("disk", "Make a file system on the device, and a pool of type fs with it"),
        ("iscsi", "Make a file system on the device, and a pool of type fs with it"),
    ],
)
async def test_pool_type_without_files_is_refused(kind: str, advice: str) -> None:
    # libvirt's test driver knows every type of pool, whichever back ends are installed.
    async with Hypervisor("test:///default") as hypervisor:
        xml = f"<pool type='{kind}'><name>{kind}</name>{_UNSUPPORTED[kind]}</pool>"
        await hypervisor.call(lambda connection: connection.storagePoolDefineXML(xml))
        with pytest.raises(PoolUnsupported, match=f"of type {kind}, .*{advice}"):
            await Pools(hypervisor).get(kind)


@pytest.mark.parametrize("kind", ["dir", "fs", "netfs"])
async def test_pools_of_files_are_taken(kind: str) -> None:
    source = "<source><host name='h'/><dir path='/d'/><device path='/dev/sda1'/></source>"
    xml = f"<pool type='{kind}'><name>{kind}</name>{source}<target><path>/p</path></target></pool>"

    def start(connection: Connection) -> None:
        connection.storagePoolDefineXML(xml).create()

    async with Hypervisor("test:///default") as hypervisor:
        await hypervisor.call(start)
        pool = await Pools(hypervisor).get(kind)
    assert (pool.name, pool.kind, pool.path) == (kind, kind, Path("/p"))


async def test_pool_properties_are_those_of_libvirt(host: LibvirtHost, pool: Pool) -> None:
    assert (pool.kind, pool.path) == ("dir", host.pool_directory(pool.name))
    assert pool.uuid == host.virsh("pool-uuid", pool.name)


async def test_volumes_are_found_by_name(pools: Pools, pool: Pool) -> None:
    make_qcow2(pool.path / "base.qcow2")
    make_qcow2(pool.path / "top.qcow2", backing="base.qcow2")
    found = await pools.volumes(pool, ["base.qcow2", "top.qcow2", "none.qcow2"])
    assert sorted(found) == ["base.qcow2", "top.qcow2"]
    base, top = found["base.qcow2"], found["top.qcow2"]
    assert (base.format, base.capacity, base.path) == ("qcow2", GIB, pool.path / "base.qcow2")
    assert (base.backing_path, base.backing_format) == (None, None)
    assert (top.backing_path, top.backing_format) == (base.path, "qcow2")
    assert 0 < top.allocation < GIB
    assert await pools.volume(pool, "none.qcow2") is None


async def test_a_volume_deleted_without_libvirt_is_not_found(pools: Pools, pool: Pool) -> None:
    make_qcow2(pool.path / "base.qcow2")
    assert await pools.volume(pool, "base.qcow2") is not None
    (pool.path / "base.qcow2").unlink()
    assert await pools.volume(pool, "base.qcow2") is None


async def test_pool_that_stops_or_disappears_is_reported(host: LibvirtHost, pools: Pools) -> None:
    host.start_pool("brief")
    pool = await pools.get("brief")
    host.virsh("pool-destroy", "brief")
    with pytest.raises(PoolInactive, match=r"virsh .*pool-start"):
        await pools.refresh(pool)
    with pytest.raises(PoolInactive):
        await pools.volume(pool, "x")
    host.virsh("pool-undefine", "brief")
    with pytest.raises(PoolNotFound):
        await pools.refresh(pool)


async def test_the_space_is_that_of_the_file_system(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    kind = DirectoryKind(Hypervisor(host.uri), pools)
    # One of its own: other programs write to that of the machine.
    with small_filesystem(pool.path, 8 * MIB):
        assert await kind.space(pool) == 8 * MIB
        (pool.path / "large").write_bytes(b"x" * 2 * MIB)
        assert await kind.space(pool) == 6 * MIB


async def test_refreshes_coalesce(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    real_refresh = pools_module._refresh
    calls = []

    def slow_refresh(connection: Connection, pool: Pool, names: Set[str]) -> list[str] | None:
        calls.append(pool.uuid)
        started.set()
        assert go_on.wait(PATIENCE)
        return real_refresh(connection, pool, names)

    monkeypatch.setattr(pools_module, "_refresh", slow_refresh)
    first = asyncio.create_task(pools.refresh(pool))
    await asyncio.to_thread(started.wait, PATIENCE)
    # The file that these are about may have come after the first one looked.
    rest = [asyncio.create_task(pools.refresh(pool)) for _ in range(20)]
    await asyncio.sleep(0)
    rest[3].cancel()
    go_on.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert len(calls) == 2
    assert [type(result) for result in results if result is not None] == [asyncio.CancelledError]


async def test_requests_that_share_a_refresh_get_their_own_volumes(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    real_refresh = pools_module._refresh

    def slow_refresh(connection: Connection, pool: Pool, names: Set[str]) -> list[str] | None:
        started.set()
        assert go_on.wait(PATIENCE)
        return real_refresh(connection, pool, names)

    monkeypatch.setattr(pools_module, "_refresh", slow_refresh)
    first = asyncio.create_task(pools.refreshed_volumes(pool, ["late"]))
    await asyncio.to_thread(started.wait, PATIENCE)
    names = [["one"], ["two", "none"], ["one", "two"]]
    rest = [asyncio.create_task(pools.refreshed_volumes(pool, some)) for some in names]
    await asyncio.sleep(0)
    for name in ("one", "two"):
        (pool.path / name).write_bytes(bytes(512))
    go_on.set()
    assert await first == {}
    found = [set(await request) for request in rest]
    assert found == [{"one"}, {"two"}, {"one", "two"}]


async def test_a_refresh_waits_for_a_volume_that_libvirt_is_creating(
    host: LibvirtHost, pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_creation(host) as creation:
        creating = asyncio.create_task(
            asyncio.to_thread(
                host.virsh, "vol-create-as", pool.name, "new", "1M", "--format", "qcow2"
            )
        )
        await creation.has_begun()
        monkeypatch.setattr(pools_module, "_BUSY_SECONDS", 0.2)
        with pytest.raises(Libvirt, match="Cannot refresh"):
            await pools.refresh(pool)
        monkeypatch.setattr(pools_module, "_BUSY_SECONDS", 60)
        refresh = asyncio.create_task(pools.refresh(pool))
        await asyncio.sleep(0.2)  # time enough for a refresh
        assert not refresh.done()
        creation.go_on()
        await asyncio.gather(refresh, creating)
    assert await pools.volume(pool, "new") is not None


async def test_layer_that_stays_the_same_is_described_once(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []
    original = libvirt.virStorageVol.XMLDesc

    def describe(volume: Any) -> Any:
        described.append(volume.name())
        return original(volume)

    async def asked(*, refresh: bool = True) -> list[str]:
        described.clear()
        volumes = {one.name: one for one in await pools.all_volumes(pool, refresh=refresh)}
        assert volumes.keys() >= {layer, "web.qcow2"}
        assert volumes[layer].backing_path == backing
        return sorted(name for name in described if name in {layer, "web.qcow2"})

    monkeypatch.setattr(libvirt.virStorageVol, "XMLDesc", describe)
    layer, backing = f"layer-{'0' * 64}.qcow2", None
    make_qcow2(pool.path / layer)
    make_qcow2(pool.path / "web.qcow2", backing=layer)
    # A file that has just changed could change again in the same tick of the clock.
    assert await asked() == await asked() == [layer, "web.qcow2"]
    monkeypatch.setattr(described_volumes, "_SETTLED_NS", 0)
    assert await asked(refresh=False) == [layer, "web.qcow2"]
    assert await asked() == [layer, "web.qcow2"]
    assert await asked() == await asked(refresh=False) == ["web.qcow2"]
    (pool.path / layer).unlink()
    backing = pool.path / "web.qcow2"
    make_qcow2(pool.path / layer, backing=str(backing))
    assert await asked() == [layer, "web.qcow2"]
