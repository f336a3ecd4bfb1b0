# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool describes itself: every virtlayerd can read its records, on any host."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.bus_daemon import Bus, session_bus
from tests.support.images import file, image, layer
from tests.support.job_watch import IMAGE, MANAGER, ROOT, plain, watching
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.pool_user import PoolUser, pool_user, some_image
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from tests.support.waiting import PATIENCE, stop
from virtlayer.service.catalog.database import Database
from virtlayer.service.catalog.schema import MIGRATIONS
from virtlayer.sizes import MIB

SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"
CATALOG = "state/virtlayer/catalog.sqlite"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    (tmp_path / "bus").mkdir()
    with session_bus(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The state directory of a virtlayerd, which outlasts the process."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def user(host: LibvirtHost, bus: Bus, home: Path, registry: Registry) -> Iterator[PoolUser]:
    with (
        virtlayerd(host, bus, home, settings=SETTINGS) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        yield user


@contextlib.contextmanager
def another_daemon(user: PoolUser, home: Path) -> Iterator[PoolUser]:
    """The same pool at another virtlayerd."""
    for name in ("bus", "home"):
        (home / name).mkdir(parents=True, exist_ok=True)
    with (
        session_bus(home / "bus") as bus,
        virtlayerd(user.host, bus, home / "home", settings=SETTINGS) as daemon,
    ):
        yield replace(user, daemon=daemon)


@contextlib.contextmanager
def restarted(user: PoolUser, bus: Bus, home: Path) -> Iterator[PoolUser]:
    """The same pool at a virtlayerd with the state of a previous one."""
    user.daemon.process.terminate()
    user.daemon.process.wait()
    with virtlayerd(user.host, bus, home, settings=SETTINGS) as daemon:
        yield replace(user, daemon=daemon)


@dataclass(frozen=True, slots=True)
class Known:
    """What a virtlayerd tells about a pool.

    Attributes:
        images: The properties of the images, by name.
        volumes: The descriptions of the volumes that ``fill`` made, by name.
    """

    images: Mapping[str, Mapping[str, Any]]
    volumes: Mapping[str, Mapping[str, Any]]


async def content_of(user: PoolUser) -> Known:
    """Ask for all that is known of a pool; where it is, is left out."""
    images, volumes = {}, {}
    async with watching(user.daemon.bus.address) as watch:
        for path, _pool, name, *_ in await watch.ask(ROOT, MANAGER, "ListImages", "s", user.pool):
            images[name] = await watch.properties(path, IMAGE)
            assert images[name].pop("Pool") == user.pool
        for name in ("machine", "directory", "disk"):
            described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", user.pool, name)
            volumes[name] = {key: plain(value) for key, value in described.items()}
            assert volumes[name].pop("path") == str(user.path / name)
    return Known(images, volumes)


async def fill(user: PoolUser) -> Known:
    """Pull two versions of an image and another one, and make a volume of each kind."""
    # Others must not enter a pool with directories.
    user.path.chmod(0o700)
    await user.pull(some_image("base", "old"), "web")
    await user.run("create-volume", "web", "machine", user.pool)
    await user.pull(some_image("base", "new"), "web")
    await user.pull(some_image("base"), "db")
    disk = image([layer(file("disk/disk.img", b"\1" * MIB))])
    for name, one, kind in (("directory", some_image("a"), "dir"), ("disk", disk, "disk")):
        source = user.registry.store(one, f"{name}:1")
        options = (f"--format={kind}", f"--volume={name}", "--tls-verify=false")
        await user.run("pull", source, user.pool, *options)
    content = await content_of(user)
    assert sorted(content.images) == ["db", "web"]
    assert [one["image"] for one in content.volumes.values()] == ["web", "directory:1", "disk:1"]
    assert len(content.images["web"]["FormerVersions"]) == 1
    # The machine is still on the version that it was made of.
    assert content.volumes["machine"]["digest"] != content.images["web"]["Digest"]
    return content


async def images_of(user: PoolUser) -> list[dict[str, Any]]:
    return [one for one in await user.run("images") if one["pool"] == user.pool]


async def until_listed(user: PoolUser, *names: str) -> None:
    """Wait until a virtlayerd lists these images and no others, which nobody tells it.

    One that starts waits for the records of pools, but not long: a slow pool must not hold it up.
    """
    async with asyncio.timeout(PATIENCE):
        while [one["name"] for one in await images_of(user)] != list(names):
            await asyncio.sleep(0.2)


@contextlib.contextmanager
def copied(user: PoolUser, *, move: bool = False) -> Iterator[PoolUser]:
    """A copy of a pool at another path under another name, or the pool itself there."""
    other = replace(user, pool=f"{user.pool}-other")
    if move:
        user.host.stop_pool(user.pool)
        other.path.rmdir()
        user.path.rename(other.path)
    else:
        subprocess.run(["cp", "-a", f"{user.path}/.", other.path], check=True)
    user.host.start_pool(other.pool)
    try:
        yield other
    finally:
        user.host.stop_pool(other.pool)
        if move:
            other.path.rename(user.path)
            user.host.start_pool(user.pool)


async def test_nothing_is_lost_with_the_catalog(user: PoolUser, bus: Bus, home: Path) -> None:
    content = await fill(user)
    remove_catalog(home)
    # A virtlayerd that runs goes on.
    assert await content_of(user) == content
    await user.pull(some_image("other"), "other")
    with restarted(user, bus, home) as again:
        await until_listed(again, "db", "other", "web")
        later = await content_of(again)
        assert {name: later.images[name] for name in content.images} == content.images
        assert later.volumes == content.volumes
        assert (await again.run("prune", user.pool))["deleted_volumes"] == []
        assert len((await again.run("remove", "other", user.pool))["deleted_volumes"]) == 1
        remove_catalog(home)
    with restarted(again, bus, home) as again:
        await until_listed(again, "db", "web")
        assert await content_of(again) == content


def remove_catalog(home: Path) -> None:
    paths = list(home.glob(f"{CATALOG}*"))
    assert paths
    for path in paths:
        path.unlink()


@pytest.mark.parametrize("move", [False, True], ids=["copied", "moved"])
async def test_pool_in_another_place_is_known_without_rescan(user: PoolUser, move: bool) -> None:
    content = await fill(user)
    with copied(user, move=move) as other:
        await until_listed(other, "db", "web")
        assert await content_of(other) == content
        await other.run("create-volume", "web", "second", other.pool)
        assert (await other.run("prune", other.pool))["deleted_volumes"] == []
        unchanged = {
            "layers_found": [],
            "layers_lost": [],
            "images_lost": [],
            "unreferenced_layers": 1,
        }
        assert await other.run("rescan", other.pool) == unchanged
        if move:
            await until_listed(user)
        else:
            assert await content_of(user) == content


async def test_restored_pool_has_the_images_of_its_backup(user: PoolUser) -> None:
    content = await fill(user)
    with copied(user) as backup:
        await user.pull(some_image("base", "newest"), "web")
        await user.run("remove", "db", user.pool)
        await user.pull(some_image("later"), "later")
        shutil.rmtree(user.path / ".virtlayer")
        for path in user.path.iterdir():
            path.unlink() if path.is_file() else shutil.rmtree(path)
        subprocess.run(["cp", "-a", f"{backup.path}/.", user.path], check=True)
    user.host.virsh("pool-refresh", user.pool)
    await until_listed(user, "db", "web")
    assert await content_of(user) == content


async def test_image_of_one_host_is_used_on_another(user: PoolUser, tmp_path: Path) -> None:
    with another_daemon(user, tmp_path / "other") as other:
        async with watching(other.daemon.bus.address) as watch:
            await user.pull(some_image("base", "top"), "web")
            await until_listed(other, "web")
            [path] = [one[0] for one in await watch.ask(ROOT, MANAGER, "ListImages", "s", "")]
            assert [told.body[0] for told in watch.of(ROOT, "InterfacesAdded")] == [path]
            await other.run("create-volume", "web", "machine", user.pool)
            described = await watch.ask(ROOT, MANAGER, "DescribeVolume", "ss", user.pool, "machine")
            assert described["image"].value == "web"
            # What another host has just pulled needs no time to be known to a job.
            await user.pull(some_image("base", "second"), "second")
            await other.run("create-volume", "second", "another", user.pool)
            ended = await user.fail("remove", "web", user.pool)
            assert "machine" in ended.stderr
            for volume in ("machine", "another"):
                user.host.virsh("vol-delete", volume, user.pool)
            await user.run("remove", "web", user.pool)
            await until_listed(other, "second")
            assert [told.body[0] for told in watch.of(ROOT, "InterfacesRemoved")] == [path]
            # Neither has it, and prune deletes the records of the volumes as well.
            await other.run("remove", "second", user.pool)
            await user.run("prune", user.pool)
            assert [*user.path.glob(".virtlayer/*.json")] == []


async def test_service_starts_while_libvirt_does_not_answer(
    bus: Bus, home: Path, registry: Registry
) -> None:
    with (
        private_host() as mortal,
        virtlayerd(mortal, bus, home, settings=SETTINGS) as daemon,
        pool_user(daemon, registry, mortal) as user,
    ):
        await user.pull(some_image("base"), "web")
        daemon.process.terminate()
        daemon.process.wait()
        stop(mortal.pid)
        try:
            with virtlayerd(mortal, bus, home, settings=SETTINGS) as again:
                user = replace(user, daemon=again)
                async with watching(bus.address) as watch:
                    images = await watch.ask(ROOT, MANAGER, "ListImages", "s", "")
                    assert [one[2] for one in images] == ["web"]
                    os.kill(mortal.pid, signal.SIGCONT)
                    await user.run("create-volume", "web", "machine", user.pool)
        finally:
            os.kill(mortal.pid, signal.SIGCONT)


async def test_volume_that_was_replaced_behind_our_back_is_not_described(user: PoolUser) -> None:
    await fill(user)
    for name in ("disk", "machine"):
        (user.path / name).rename(user.path / f"old-{name}")
    # Made before the other is deleted: its inode could be used again.
    (user.path / "new").mkdir()
    shutil.rmtree(user.path / "directory")
    (user.path / "new").rename(user.path / "directory")
    (user.path / "disk").write_bytes(b"\2" * MIB)
    user.overlay(user.path / "machine", user.path / (await user.run("images"))[0]["volume"])
    user.host.virsh("pool-refresh", user.pool)
    described = (await content_of(user)).volumes
    assert described["directory"]["image"] == described["disk"]["image"] == ""
    # By what it is based on.
    assert described["machine"]["image"] == "db"


async def test_catalog_of_an_older_virtlayer_becomes_records(
    user: PoolUser, bus: Bus, home: Path
) -> None:
    content = await fill(user)
    user.daemon.process.terminate()
    user.daemon.process.wait()
    old = home / "old.sqlite"
    async with Database(old, MIGRATIONS[:8]) as database:
        with contextlib.closing(sqlite3.connect(home / CATALOG)) as newer:
            rows = older_rows(newer)
        # What the pool does not have gets no record.
        rows["volume"].append((user.pool, f"layer-{'0' * 64}.qcow2", ""))
        await database.run(lambda older: insert(older, rows))
    remove_catalog(home)
    old.rename(home / CATALOG)
    shutil.rmtree(user.path / ".virtlayer")
    with restarted(user, bus, home) as again:
        await until_listed(again, "db", "web")
        later = await content_of(again)
        assert later.images == content.images
        # An older virtlayer did not know which image a writable volume was made of.
        assert later.volumes == content.volumes
        assert len([*user.path.glob(".virtlayer/*.json")]) == 2 + 3 + 2
        assert (await again.run("prune", user.pool))["deleted_volumes"] == []
        remove_catalog(home)
    with restarted(again, bus, home) as again:
        await until_listed(again, "db", "web")
        assert await content_of(again) == content


def older_rows(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """What a catalog of version 8 would have in its tables, in the place of this newer one."""
    columns = {
        "image": "*",
        "layer": "*",
        "volume": "pool, name, below",
        "built_layer": "*",
        "version": "id, pool, name, source, digest, config, volume, pulled_at, replaced_at, kept",
        "version_volume": "*",
        "puller": "DISTINCT pool, digest, source, uid",
        "owner": "*",
        "origin": "pool, name, CAST(inode AS INTEGER), image, source, digest, config, id_base",
    }
    where = {"origin": " WHERE kind <> 'volume'"}
    return {
        table: connection.execute(f"SELECT {names} FROM {table}{where.get(table, '')}").fetchall()  # noqa: S608 -- ours
        for table, names in columns.items()
    }


def insert(connection: sqlite3.Connection, tables: Mapping[str, list[tuple[object, ...]]]) -> None:
    for table, rows in tables.items():
        for row in rows:
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608 -- ours
