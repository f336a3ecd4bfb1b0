# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images whose layers other programs deleted or damaged are detected and repaired."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.support.libvirt_host import LibvirtHost
from tests.support.shared_pool import SharedPool, rules_for, shared_pool
from virtlayer.protocol.virsh import virsh
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root
DEMO = {"name": Variant("s", "demo")}


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    rules = rules_for("news", "pull", "create-volume", "remove", "read-details")
    async with shared_pool(host, tmp_path, rules) as pool:
        yield pool


async def broken(shared: SharedPool, name: str = "demo") -> str:
    """The property Broken, which all users can read."""
    return str((await shared.image(shared.games, name))["Broken"])


async def create(shared: SharedPool, volume: str) -> dict[str, Any]:
    signature = "sssa{sv}"
    return await shared.run(shared.news, "CreateVolume", signature, shared.pool, "demo", volume, {})


async def test_missing_layers_are_seen_and_a_pull_builds_only_them(shared: SharedPool) -> None:
    source = shared.store("demo:1", "base", "middle", "top")
    pulled = await shared.pull(shared.news, source, **DEMO)
    other = await shared.pull(
        shared.news, shared.store("other:1", "base"), name=Variant("s", "other")
    )
    assert await broken(shared) == ""
    for volume in pulled["volumes"][1:]:
        shared.host.virsh("vol-delete", volume, "--pool", shared.pool)
    text = await broken(shared)
    assert "2 of its 3 layer volumes are missing" in text
    assert "Pull the image again" in text
    # Its one layer is there.
    assert other["volumes"] == pulled["volumes"][:1]
    assert await broken(shared, "other") == ""
    job = await create(shared, "own.qcow2")
    assert (job["Error"], job["Message"]) == ("org.virtlayer1.Error.VolumeNotFound", text)
    again = await shared.pull(shared.news, source, **DEMO)
    assert (again["outcome"], again["layers-built"], again["layers-reused"]) == ("repaired", 2, 1)
    shown = await shared.games.ask(
        "GetAll",
        "s",
        "org.virtlayer1.Image",
        path=again["image"],
        interface="org.freedesktop.DBus.Properties",
    )
    assert shown["Broken"].value == ""
    assert (await create(shared, "own.qcow2"))["State"] == "done"


async def test_file_that_was_deleted_behind_libvirts_back_is_missed(shared: SharedPool) -> None:
    pulled = await shared.pull(shared.news, shared.store("demo:1", "base", "top"), **DEMO)
    (shared.path / pulled["volumes"][0]).unlink()
    assert "1 of its 2 layer volumes is missing" in await broken(shared)
    job = await create(shared, "own.qcow2")
    assert job["Error"] == "org.virtlayer1.Error.VolumeNotFound"


async def test_damaged_layer_is_seen_and_replaced_after_it_was_deleted(shared: SharedPool) -> None:
    source = shared.store("demo:1", "base", "top")
    pulled = await shared.pull(shared.news, source, **DEMO)
    assert await broken(shared) == ""
    damaged = shared.path / pulled["volumes"][0]
    damaged.chmod(0o600)
    damaged.write_bytes(bytes(MIB))
    text = await broken(shared)
    assert damaged.name in text
    assert virsh(shared.host.uri, "vol-delete", damaged.name, "--pool", shared.pool) in text
    shared.host.virsh("vol-delete", damaged.name, "--pool", shared.pool)
    again = await shared.pull(shared.news, source, **DEMO)
    assert (again["outcome"], again["layers-built"]) == ("repaired", 1)
    assert await broken(shared) == ""


async def test_whole_image_is_not_broken_while_its_pool_is_not_active(shared: SharedPool) -> None:
    await shared.pull(shared.news, shared.store("demo:1", "base"), **DEMO)
    shared.host.virsh("pool-destroy", shared.pool)
    assert await broken(shared) == ""
    shared.host.virsh("pool-start", shared.pool)


async def test_change_is_announced(shared: SharedPool) -> None:
    pulled = await shared.pull(shared.news, shared.store("demo:1", "base"), **DEMO)
    await shared.games.listen()
    shared.host.virsh("vol-delete", pulled["volume"], "--pool", shared.pool)
    text = await broken(shared)
    [change] = [one for one in shared.games.signals if one.member == "PropertiesChanged"]
    assert change.body[1]["Broken"].value == text
