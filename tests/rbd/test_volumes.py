# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes in RBD pools: made, described, counted, removed; images removed, pruned, rescanned."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import FaultyRegistry
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import some_image
from tests.support.rbd_user import SIZE, RbdUser, rbd_user
from tests.support.virtlayerd import Daemon
from virtlayer.protocol.rbd_names import unfinished_name
from virtlayer.sizes import MIB


@pytest.fixture
def user(ceph: OneNodeCeph, pool: CephPool, host: LibvirtHost, daemon: Daemon) -> RbdUser:
    return rbd_user(ceph, pool, host, daemon)


async def test_volumes_are_small_clones_of_an_image(
    user: RbdUser, registry: FaultyRegistry, tmp_path: Path
) -> None:
    source = registry.store(some_image("one", "two"), "demo:1")
    pulled = await user.pull(source, "--volume=first")
    layers = pulled["volumes"]
    assert (pulled["volume"], pulled["path"]) == ("first", f"{user.rbd.name}/first")
    plain = await user.run("create-volume", "demo", "plain", user.pool, "--keep-identity")
    assert plain["path"] == f"{user.rbd.name}/plain"
    larger = ("--hostname=web", "--size=128M", "--grow")
    made = await user.run("create-volume", "demo", "web", user.pool, *larger)
    assert made["virtual_size"] == 2 * SIZE

    assert user.images == sorted([*layers, "first", "plain", "web"])
    assert all(user.parents(name) == layers[::-1] for name in ("first", "plain", "web"))
    assert (user.info("plain")["size"], user.info("web")["size"]) == (SIZE, 2 * SIZE)
    assert user.used("plain") == 0
    assert user.used("web") < 16 * MIB
    assert user.fingerprint("plain", tmp_path) == user.fingerprint(layers[-1], tmp_path)
    with user.exported("web", tmp_path) as raw:
        done = await asyncio.create_subprocess_exec(
            *("debugfs", "-R", "cat /etc/hostname", raw), stdout=asyncio.subprocess.PIPE
        )
        assert (await done.communicate())[0] == b"web\n"

    # Changes of a volume reach neither the image nor other volumes.
    user.ceph.rbd("bench", "--io-type=write", "--io-total=1M", f"{user.rbd.name}/plain")
    assert user.fingerprint("first", tmp_path)
    taken = await user.fail("create-volume", "demo", "web", user.pool)
    assert 'already has a volume "web"' in taken.stderr
    for name, reason in (("web@1", '"@" separates'), (unfinished_name("0" * 32, "x"), "reserved")):
        refused = await user.fail("create-volume", "demo", name, user.pool)
        assert (refused.status, reason in refused.stderr) == (2, True)


async def test_what_is_listed(user: RbdUser, registry: FaultyRegistry) -> None:
    source = registry.store(some_image("one", "two"), "demo:1")
    pulled = await user.pull(source, "--volume=web")
    listed = {one["name"]: one for one in await user.run("volumes", user.pool, "--all")}
    assert listed.keys() == {*pulled["volumes"], "web"}
    assert {one["format"] for one in listed.values()} == {"raw"}
    assert (listed["web"]["kind"], listed["web"]["image"]) == ("volume", "demo")
    [image] = await user.run("images", user.pool)
    assert image["volume"] == pulled["volumes"][-1]
    [usage] = await user.run("df", user.pool)
    assert (usage["layer_count"], usage["volume_count"], usage["prunable_count"]) == (2, 1, 0)
    assert usage["layers_size"] > 0


async def test_removal_leaves_what_is_used(user: RbdUser, registry: FaultyRegistry) -> None:
    one = await user.pull(registry.store(some_image("one", "two"), "demo:1"), "--volume=web")
    other = await user.pull(registry.store(some_image("one", "4"), "other:1"), name="other")
    used = await user.fail("remove", "demo", user.pool)
    assert (used.status, "web" in used.stderr) == (7, True), used.stderr
    await user.run("remove-volume", "web", user.pool)
    await user.run("remove", "demo", user.pool)
    assert user.images == sorted(other["volumes"])
    assert one["volumes"][0] in user.images

    # A clone that virtlayer has not made.
    top = f"{user.rbd.name}/{other['volumes'][-1]}"
    user.ceph.rbd("clone", f"{top}@virtlayer", f"{user.rbd.name}/foreign")
    used = await user.fail("remove", "other", user.pool)
    assert (used.status, "foreign" in used.stderr) == (7, True), used.stderr
    user.ceph.rbd("rm", "--no-progress", f"{user.rbd.name}/foreign")
    await user.run("remove", "other", user.pool)
    assert user.images == []


async def test_prune_and_rescan(user: RbdUser, registry: FaultyRegistry) -> None:
    tag = "demo:1"
    first = await user.pull(registry.store(some_image("one", "two"), tag))
    second = await user.pull(registry.store(some_image("one", "three"), tag))
    assert second["outcome"] == "updated"
    doomed = (await user.run("prune", user.pool, "--dry-run"))["deleted_volumes"]
    assert doomed == [first["volumes"][-1]]
    assert (await user.run("prune", user.pool))["deleted_volumes"] == doomed
    assert user.images == sorted(second["volumes"])

    lost = second["volumes"][-1]
    path = f"{user.rbd.name}/{lost}"
    user.ceph.rbd("snap", "purge", "--no-progress", path)
    user.ceph.rbd("rm", "--no-progress", path)
    found = await user.run("rescan", user.pool)
    assert (found["layers_lost"], found["images_lost"], found["unreferenced_layers"]) == (
        [lost],
        ["demo"],
        1,
    )
    again = await user.pull(registry.store(some_image("one", "three"), tag))
    assert (again["layers_built"], again["layers_reused"]) == (1, 1)


async def test_populate(user: RbdUser, registry: FaultyRegistry) -> None:
    directory = user.daemon.directory / "config" / "virtlayer" / "images.d"
    directory.mkdir(parents=True)
    source = registry.store(some_image("one", "two"), "demo:1")
    given = {"source": source, "pool": user.pool, "name": "demo", "tls-verify": False, "keep": 0}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in given.items()]
    (directory / "demo.toml").write_text("".join(lines))
    try:
        [new] = (await user.run("populate"))["images"]
        assert (new["outcome"], new["layers_built"], new["error"]) == ("new", 2, None)
        registry.store(some_image("one", "three"), "demo:1")
        [updated] = (await user.run("populate"))["images"]
        assert (updated["outcome"], updated["layers_built"]) == ("updated", 1)
        assert len(updated["deleted_volumes"]) == 1
        assert len(user.images) == 2
        tagged = await user.run("tag", "demo", "stable", user.pool)
        assert tagged is not None
        assert {one["name"] for one in await user.run("images", user.pool)} == {"demo", "stable"}
    finally:
        (directory / "demo.toml").unlink()
