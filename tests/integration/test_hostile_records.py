# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of others in the place of records: they stop deletions, and nothing more."""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import Content, file, image, layer
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user, some_image
from tests.support.registry import Registry
from tests.support.service_parts import pulled, service_parts
from tests.support.virtlayerd import virtlayerd
from virtlayer.errors import ImageNotFound
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.services import Services
from virtlayer.service.source.access import Access
from virtlayer.sizes import MIB

ALICE, MALLORY = 1001, 1002
LOGIN = Access(username="alice", password="swordfish", tls_verify=False)
"""With it, content belongs to nobody, because TLS is not verified."""
NAME = hashlib.sha256(b"image hostile").hexdigest()
RECORD = {"version": 1, "kind": "image", "name": "hostile"}


def link_to_secret(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, 100 * MIB)


def large_list(path: Path) -> None:
    path.write_bytes(b"[" + b"[]," * (5 * MIB) + b"[]]")


def unreadable_directory(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"")


def written(content: object) -> Callable[[Path], object]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda path: path.write_bytes(text)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "link": link_to_secret,
    "device": link_to_device,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "fifo": os.mkfifo,
    "directory": unreadable_directory,
    "100 MB": large,
    "lists": large_list,
    "empty": written(b""),
    "garbage": written(os.urandom(5000)),
    "nested": written(b"[" * MIB),
    "numbers": written(b'{"version": ' + b"9" * MIB + b"}"),
    "version": written(RECORD | {"version": 2}),
    "fields": written(RECORD),
    "traversal": written(RECORD | {"name": "../../../etc/passwd"}),
    "other name": written(RECORD | {"name": "other"}),
}


@pytest.fixture
def user(host: LibvirtHost, tmp_path: Path) -> Iterator[PoolUser]:
    for name in ("bus", "home"):
        (tmp_path / name).mkdir()
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        session_bus(tmp_path / "bus") as bus,
        Registry(tmp_path / "registry") as registry,
        virtlayerd(host, bus, tmp_path / "home", settings=settings) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        yield user


async def test_bad_records_stop_deletions_and_nothing_else(user: PoolUser) -> None:
    volumes = await user.pull(some_image("base", "top"), "demo")
    own = user.path / ".virtlayer"
    (own / "not-a-record.json").write_bytes(b"garbage")
    for what, make in HOSTILE.items():
        bad = own / f"{NAME}.json"
        make(bad)
        # Jobs of all kinds that delete nothing.
        await user.pull(some_image("base", what), "other")
        await user.run("create-volume", "demo", "machine", user.pool)
        user.host.virsh("vol-delete", "machine", user.pool)
        names = [one["name"] for one in await user.run("images", user.pool)]
        assert names == ["demo", "other"], what
        await user.run("rescan", user.pool)
        for command in (("prune", user.pool), ("remove", "demo", user.pool)):
            ended = await user.fail(*command)
            assert ended.status == 7, (what, ended.stderr)
            assert str(bad) in ended.stderr, (what, ended.stderr)
            assert "Repair or remove the file" in ended.stderr
        assert str(bad) in user.daemon.log
        shutil.rmtree(bad) if bad.is_dir() and not bad.is_symlink() else bad.unlink()
    assert "Traceback" not in user.daemon.log
    await user.run("prune", user.pool)
    assert (await user.run("remove", "demo", user.pool))["deleted_volumes"] == [volumes[-1]]


async def test_record_of_an_image_that_is_spoiled_in_place(user: PoolUser) -> None:
    """Its image cannot be used, and no pull can replace it by accident."""
    await user.pull(some_image("base"), "demo")
    record = user.path / ".virtlayer" / f"{hashlib.sha256(b'image demo').hexdigest()}.json"
    good = record.read_bytes()
    record.write_bytes(good[: len(good) // 2])
    ended = await user.fail("prune", user.pool)
    assert str(record) in ended.stderr
    source = user.registry.store(some_image("base"), "demo:1")
    ended = await user.fail("pull", source, user.pool, "--name=demo", "--tls-verify=false")
    assert str(record) in ended.stderr
    assert await user.run("images", user.pool) == []
    record.write_bytes(good)
    await user.run("prune", user.pool)
    assert [one["name"] for one in await user.run("images", user.pool)] == ["demo"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc")])
async def test_pool_whose_own_directory_is_something_else(
    user: PoolUser, make: Callable[[Path], object]
) -> None:
    make(user.path / ".virtlayer")
    source = user.registry.store(some_image("base"), "demo:1")
    ended = await user.fail("pull", source, user.pool, "--tls-verify=false")
    assert ".virtlayer" in ended.stderr
    # Other pools are not affected.
    with pool_user(user.daemon, user.registry, user.host) as other:
        await other.pull(some_image("base"), "demo")
        assert len(await other.run("images", other.pool)) == 1


@pytest.fixture
async def services(
    host: LibvirtHost,
    pool: Pool,  # noqa: ARG001 -- it is made before, and deleted after
    tmp_path: Path,
) -> AsyncIterator[Services]:
    with nothing_left():
        async with service_parts(host, tmp_path, session=False) as services:
            yield services


def claimed_by_everybody(pool: Pool) -> None:
    """Let the records of a pool say that all of its content belongs to everybody."""
    everybody = [{"kind": "everybody", "name": ""}]
    for path in (pool.path / ".virtlayer").glob("*.json"):
        table = json.loads(path.read_text())
        if table["kind"] == "image":
            table["owners"] = everybody
        for built in table["layers"] if table["kind"] == "layer" else []:
            built["owners"] = everybody
        new = path.with_name("new")
        new.write_text(json.dumps(table))
        new.rename(path)


async def test_records_of_a_pool_give_away_nothing_of_another_one_or_of_the_cache(
    services: Services, host: LibvirtHost, pool: Pool, registry: FaultyRegistry
) -> None:
    secret = layer(file("secret", os.urandom(100_000)))
    content = image([secret], config={"config": {"Env": ["TOKEN=hunter2"]}})
    source = registry.store(content, "private:1")
    private = await pulled(services, source, pool.name, uid=ALICE, access=LOGIN)
    # Mallory knows the digests, and copies the whole pool to say that it is everybody's.
    no_config = registry.store(without(content, content.config_digest), "no-config:1")
    no_layer = registry.store(without(content, secret.digest), "no-layer:1")
    for name in ("theirs", "third"):
        host.start_pool(name)
    try:
        theirs = await services.pools.get("theirs")
        shutil.copytree(pool.path, theirs.path, dirs_exist_ok=True)
        claimed_by_everybody(theirs)
        for own in (no_config, no_layer):
            given = await pulled(services, own, "theirs", uid=MALLORY)
            assert (given.layers_built, given.bytes_downloaded) == (0, 0)
            for other in (pool.name, "third"):
                with pytest.raises(ImageNotFound):
                    await pulled(services, own, other, uid=MALLORY)
        # The cache has it, but not for a pool that only says so.
        (theirs.path / private.volume).unlink()
        with pytest.raises(ImageNotFound):
            await pulled(services, no_layer, "theirs", uid=MALLORY)
    finally:
        for name in ("theirs", "third"):
            host.stop_pool(name)


def without(content: Content, digest: str) -> Content:
    """An image whose registry does not have a blob."""
    blobs = {key: blob for key, blob in content.blobs.items() if key != digest}
    return dataclasses.replace(content, blobs=blobs)
