# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removing and pruning with real parts: what is deleted, and which users are found."""

import asyncio
import os
import shutil
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import image
from tests.support.job_watch import IMAGE, Told, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user, qemu_img, some_image, some_layers
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import until

IN_USE = 7
"""The exit status of the command."""


@pytest.fixture(scope="module")
def daemon(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("virtlayerd")
    settings = "[storage]\nvirtual-size = 67108864\ndepth-limit = 4\n"
    with (
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, home, settings=settings) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def user(daemon: Daemon, registry: Registry, host: LibvirtHost) -> Iterator[PoolUser]:
    with pool_user(daemon, registry, host) as user:
        yield user


async def test_layers_that_another_image_needs_stay(user: PoolUser) -> None:
    base, old = await user.pull(some_image("base", "old"), "old")
    _, new = await user.pull(some_image("base", "new"), "new")
    freed = await user.run("remove", "old", user.pool)
    assert freed["deleted_volumes"] == [old]
    assert freed["bytes_freed"] > 0
    assert user.volumes == sorted([base, new])
    assert [one["name"] for one in await user.run("images", user.pool)] == ["new"]
    freed = await user.run("remove", "new", user.pool)
    assert freed["deleted_volumes"] == [new, base]
    assert user.volumes == []


async def test_images_appear_and_disappear_on_the_bus(user: PoolUser, daemon: Daemon) -> None:
    async with watching(daemon.bus.address) as watch:
        [top] = await user.pull(some_image("one"), "demo")
        [shown] = await user.run("images", user.pool)
        path = shown["object"]
        assert (await watch.properties(path, IMAGE))["Volume"] == top
        [other] = await user.pull(some_image("two"), "demo")
        await user.run("remove", "demo", user.pool)
        assert [(told.member, told.body[0]) for told in watch.told if is_about(told, path)] == [
            ("InterfacesAdded", path),
            ("PropertiesChanged", IMAGE),
            ("InterfacesRemoved", path),
        ]
        [changed] = watch.of(path, "PropertiesChanged")
        assert changed.body[1]["Volume"] == other
    assert user.volumes == []


def is_about(told: Told, path: str) -> bool:
    return told.path == path or told.body[:1] == [path]


async def test_a_second_name_for_an_image_is_only_a_name(user: PoolUser) -> None:
    volumes = await user.pull(some_image("base", "top"), "one")
    await user.pull(some_image("base", "top"), "other")
    user.overlay(user.path / "machine.qcow2", user.path / volumes[-1])
    assert (await user.run("remove", "one", user.pool))["deleted_volumes"] == []
    assert (await user.fail("remove", "other", user.pool)).status == IN_USE


async def test_missing_image_cannot_be_removed(user: PoolUser) -> None:
    ended = await user.fail("remove", "nothing", user.pool)
    assert (ended.status, '"nothing"' in ended.stderr) == (3, True)


async def test_an_overlay_that_libvirt_made_is_a_user(user: PoolUser, host: LibvirtHost) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    host.virsh(
        *("vol-create-as", user.pool, "mine.qcow2", "64M", "--format", "qcow2"),
        *("--backing-vol", volumes[-1], "--backing-vol-format", "qcow2"),
    )
    ended = await user.fail("remove", "demo", user.pool)
    assert (ended.status, f'the volume "mine.qcow2" in "{user.pool}"' in ended.stderr) == (7, True)
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []
    assert [one["name"] for one in await user.run("images", user.pool)] == ["demo"]
    host.virsh("vol-delete", "mine.qcow2", user.pool)
    assert (await user.run("remove", "demo", user.pool))["deleted_volumes"] == volumes[::-1]


async def test_an_overlay_that_libvirt_has_not_seen_is_a_user(user: PoolUser) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    # On the base only: the top is this image's alone, and nobody uses it.
    user.overlay(user.path / "foreign.qcow2", Path(volumes[0]))
    ended = await user.fail("remove", "demo", user.pool)
    assert (ended.status, "foreign.qcow2" in ended.stderr) == (IN_USE, True)
    assert user.volumes == sorted([*volumes, "foreign.qcow2"])


@pytest.mark.parametrize("active", [True, False])
async def test_an_overlay_in_another_pool_is_a_user(
    user: PoolUser, host: LibvirtHost, active: bool
) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    other = f"{user.pool}-other"
    (directory := host.start_pool(other)).joinpath("empty").touch()
    middle = user.overlay(directory / "middle.qcow2", user.path / volumes[-1])
    user.overlay(directory / "upper.qcow2", middle)
    try:
        if not active:
            host.virsh("pool-destroy", other)
        ended = await user.fail("remove", "demo", user.pool)
        assert ended.status == IN_USE
        assert '"middle.qcow2"' in ended.stderr
        assert '"upper.qcow2"' in ended.stderr
    finally:
        if active:
            host.virsh("pool-destroy", other)
        host.virsh("pool-undefine", other)


async def test_a_domain_that_does_not_run_is_a_user(user: PoolUser, tmp_path: Path) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    # Outside every pool: only the domain tells that it exists.
    middle = user.overlay(tmp_path / "middle.qcow2", user.path / volumes[-1])
    disk = user.overlay(tmp_path / "disk.qcow2", middle)
    with user.domain(disk) as domain:
        ended = await user.fail("remove", "demo", user.pool)
        assert (ended.status, f'the domain "{domain}"' in ended.stderr) == (IN_USE, True)
        assert user.volumes == sorted(volumes)
    await user.run("remove", "demo", user.pool)


async def test_a_snapshot_of_a_domain_is_a_user(
    user: PoolUser, host: LibvirtHost, tmp_path: Path
) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    disk = user.overlay(tmp_path / "disk.qcow2", user.path / volumes[-1])
    with user.domain(disk) as domain:
        host.virsh("snapshot-create-as", domain, "before", "--diskspec", "vda,snapshot=internal")
        host.virsh("detach-disk", domain, "vda", "--config")
        ended = await user.fail("remove", "demo", user.pool)
        named = f'the snapshot "before" of the domain "{domain}"'
        assert (ended.status, named in ended.stderr) == (IN_USE, True)
        assert f'by the domain "{domain}"' not in ended.stderr
    await user.run("remove", "demo", user.pool)


async def test_a_disk_that_cannot_be_read_stops_everything(user: PoolUser, tmp_path: Path) -> None:
    await user.pull(some_image("base", "top"), "demo")
    (tmp_path / "broken.qcow2").write_bytes(b"no qcow2")
    with user.domain(tmp_path / "broken.qcow2"):
        ended = await user.fail("prune", user.pool)
        assert (ended.status, "broken.qcow2" in ended.stderr) == (IN_USE, True)


@pytest.mark.root
async def test_links_of_a_pools_owner_lead_the_service_nowhere(
    user: PoolUser, tmp_path: Path
) -> None:
    await user.pull(some_image("one"), "demo")
    before, content = user.volumes, some_image("two")
    source = user.registry.store(content, "two:1")
    (tmp_path / "victim").mkdir()
    staging = user.path / ".virtlayer"
    os.chown(user.path, 5, 60)
    staging.rename(tmp_path / "moved")
    staging.symlink_to(tmp_path / "victim")
    try:
        for command in (
            ("create-volume", "demo", "guest", user.pool),
            ("create-volume", "demo", "guest", user.pool, "--hostname=web"),
            ("pull", source, user.pool, "--tls-verify=false"),
        ):
            ended = await user.fail(*command)
            assert f"{staging} is not a directory of the pool" in ended.stderr
    finally:
        staging.unlink()
        (tmp_path / "moved").rename(staging)
    assert [*(tmp_path / "victim").iterdir()] == []
    assert user.volumes == before


def write_overlay(path: Path, name: bytes) -> None:
    """Write the header of an overlay of any name, as qemu-img would not.

    Without the format of the backing file, libvirtd opens that to guess, and hangs on a FIFO.
    """
    start = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 112, len(name), 16, 1 << 26)
    backing_format = struct.pack(">II8s", 0xE2792ACA, 5, b"qcow2")
    path.write_bytes((start.ljust(72, b"\0") + backing_format).ljust(112, b"\0") + name)


@pytest.mark.root
async def test_fifo_that_a_header_names_is_not_opened(user: PoolUser, tmp_path: Path) -> None:
    [volume] = await user.pull(some_image("one"), "demo")
    os.mkfifo(tmp_path / "fifo", 0o600)
    write_overlay(user.path / "odd.qcow2", bytes(tmp_path / "fifo"))
    with user.domain(tmp_path / "fifo"):
        assert (await user.run("prune", user.pool))["deleted_volumes"] == []
        assert (await user.run("remove", "demo", user.pool))["deleted_volumes"] == [volume]


@pytest.mark.parametrize("name", [b"json:{", b"json:" + b"[" * 99, b"file:x", b"x\0".ljust(1024)])
async def test_header_without_a_path_stops_everything(user: PoolUser, name: bytes) -> None:
    await user.pull(some_image("base"), "demo")
    before = user.volumes
    write_overlay(user.path / "odd.qcow2", name)
    for command in (("prune", user.pool), ("remove", "demo", user.pool)):
        ended = await user.fail(*command)
        assert (ended.status, str(user.path / "odd.qcow2") in ended.stderr) == (IN_USE, True)
    (user.path / "odd.qcow2").unlink()
    assert user.volumes == before


async def test_volumes_that_back_each_other_end_the_search(user: PoolUser) -> None:
    [volume] = await user.pull(some_image("one"), "demo")
    write_overlay(user.path / "a.qcow2", b"b.qcow2")
    write_overlay(user.path / "b.qcow2", b"a.qcow2")
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []
    assert (await user.run("remove", "demo", user.pool))["deleted_volumes"] == [volume]


async def test_prune_deletes_only_layers_that_nothing_needs(user: PoolUser) -> None:
    base, old = await user.pull(some_image("base", "old"), "demo")
    _, new = await user.pull(some_image("base", "new"), "demo")
    unknown = f"layer-{'0' * 64}.qcow2"
    for name in (unknown, "mine.qcow2"):
        qemu_img("create", "-q", "-f", "qcow2", str(user.path / name), "1M")
    would = await user.run("prune", user.pool, "--dry-run")
    assert would["deleted_volumes"] == [old]
    assert would["bytes_freed"] > 0
    assert old in user.volumes
    assert await user.run("prune", user.pool) == would
    assert user.volumes == sorted([base, new, unknown, "mine.qcow2"])
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []


@pytest.fixture
async def slow_registry() -> AsyncIterator[FaultyRegistry]:
    async with FaultyRegistry() as running:
        yield running


async def test_a_layer_that_a_running_pull_counts_on_stays(
    user: PoolUser, slow_registry: FaultyRegistry
) -> None:
    base, old = await user.pull(some_image("base", "old"), "demo")
    await user.pull(some_image("else"), "demo")
    layers = some_layers("base", "slow")
    source = slow_registry.store(image(layers), "slow:1")
    slow_registry.faults[layers[1].digest] = Fault.HANG
    job = await user.run("pull", source, user.pool, "--tls-verify=false", "--no-wait")
    await until(lambda: any(layers[1].digest in path for path in slow_registry.requested))
    assert (await user.run("prune", user.pool))["deleted_volumes"] == [old]
    assert base in user.volumes
    await user.run("cancel", str(job["id"]))
    assert (await user.run("prune", user.pool))["deleted_volumes"] == [base]


async def test_pulls_and_prunes_at_the_same_time_leave_whole_chains(user: PoolUser) -> None:
    async def moving(name: str) -> None:
        for turn in range(6):
            await user.pull(some_image("shared", f"turn-{turn % 2}", name), name)

    async def pruning() -> None:
        while True:
            await user.run("prune", user.pool)

    pruner = asyncio.create_task(pruning())
    async with asyncio.TaskGroup() as group:
        for name in ("one", "two"):
            group.create_task(moving(name))
    assert not pruner.done()
    pruner.cancel()
    await asyncio.wait([pruner])
    await user.run("prune", user.pool)
    # Two images of three layers, which share two.
    assert len(user.volumes) == 4
    for volume in user.volumes:
        qemu_img("info", "--backing-chain", str(user.path / volume))


@pytest.fixture
def other(user: PoolUser, tmp_path: Path) -> Iterator[PoolUser]:
    """The same pool at a new virtlayerd that plans deeper chains."""
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    settings = "[storage]\nvirtual-size = 67108864\n"
    with (
        session_bus(tmp_path / "bus") as bus,
        virtlayerd(user.host, bus, tmp_path / "home", settings=settings) as another,
    ):
        yield PoolUser(another, user.registry, user.host, user.pool)


async def test_another_daemon_lists_the_content_of_the_pool(
    user: PoolUser, other: PoolUser
) -> None:
    content = some_image("base", "top")
    volumes = await user.pull(content, "demo")
    assert (await other.run("prune", user.pool))["deleted_volumes"] == []
    assert [image["name"] for image in await other.run("images", user.pool)] == ["demo"]
    unchanged = {
        "layers_found": [],
        "layers_lost": [],
        "images_lost": [],
        "unreferenced_layers": 0,
    }
    assert await other.run("rescan", user.pool) == unchanged
    assert (await other.run("remove", "demo", user.pool))["deleted_volumes"] == volumes[::-1]
    assert await user.pull(content, "demo") == volumes


async def test_rescan_finds_the_layers_without_records(user: PoolUser) -> None:
    content = some_image("base", "top")
    volumes = await user.pull(content, "demo")
    shutil.rmtree(user.path / ".virtlayer")
    # What is not known to be ours is not deleted.
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []
    found = await user.run("rescan", user.pool)
    assert found == {
        "layers_found": sorted(volumes),
        "layers_lost": [],
        "images_lost": [],
        "unreferenced_layers": 2,
    }
    assert (await user.run("prune", user.pool, "--dry-run"))["deleted_volumes"] == volumes[::-1]
    assert await user.pull(content, "demo") == volumes
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []


async def test_rescan_drops_images_missing_from_the_pool(user: PoolUser, host: LibvirtHost) -> None:
    content = some_image("base", "top")
    volumes = await user.pull(content, "demo")
    host.virsh("vol-delete", volumes[-1], user.pool)
    lost = await user.run("rescan", user.pool)
    assert (lost["layers_lost"], lost["images_lost"], lost["unreferenced_layers"]) == (
        [volumes[-1]],
        ["demo"],
        1,
    )
    assert await user.run("images", user.pool) == []
    assert await user.pull(content, "demo") == volumes


async def test_a_layer_stays_below_a_volume_that_was_put_on_it_by_hand(user: PoolUser) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    base, top = (user.path / name for name in volumes)
    between = user.overlay(user.path / f"layer-{'0' * 64}.qcow2", Path(base.name))
    qemu_img("rebase", "-u", "-F", "qcow2", "-b", between.name, str(top))
    await user.run("rescan", user.pool)
    # No plan has it, but it is needed.
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []
    assert await user.pull(some_image("base", "top"), "demo") == volumes
    freed = await user.run("remove", "demo", user.pool)
    assert freed["deleted_volumes"] == [top.name, between.name, base.name]


async def test_pools_of_daemons_with_other_depth_limits_are_shared(
    user: PoolUser, other: PoolUser
) -> None:
    content = some_image("a", "b", "c", "d", "e")
    deep, flat = await other.pull(content, "deep"), await user.pull(content, "flat")
    assert (len(deep), len(flat)) == (5, 4)
    assert deep[:2] == flat[:2]
    assert set(deep[2:]).isdisjoint(flat[2:])
    assert (await user.run("prune", user.pool))["deleted_volumes"] == []
