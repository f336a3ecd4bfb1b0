# SPDX-License-Identifier: LGPL-2.1-or-later
"""Listing the volumes that virtlayer created in a pool, and removing unused ones."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.users import User
from tests.support import images
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import DOMAIN, qemu_img
from tests.support.shared_pool import SharedPool, rules_for, shared_pool
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root
DEMO = {"name": Variant("s", "demo")}
CONTAINER = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <filesystem type='mount'>
      <driver type='virtiofs'/>
      <source dir='{directory}'/>
      <target dir='root'/>
    </filesystem>
  </devices>
</domain>
"""


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    """Games may only look; news may do everything."""
    actions = ("pull", "create-volume", "remove", "remove-volume", "prune", "read-details")
    async with shared_pool(host, tmp_path, rules_for("news", *actions)) as pool:
        # Closed, as it must be for a directory of root.
        pool.path.chmod(0o700)
        yield pool


async def create(shared: SharedPool, name: str) -> Path:
    body: tuple[Any, ...] = (shared.pool, "demo", name, {})
    result = await shared.done(shared.news, "CreateVolume", "sssa{sv}", *body)
    return Path(result["path"])


async def make_one_of_each(shared: SharedPool) -> dict[str, Any]:
    """An image of two layers, and a volume, a directory and a disk; the result of the pull."""
    pulled = await shared.pull(shared.news, shared.store("demo:1", "base", "top"), **DEMO)
    await create(shared, "own.qcow2")
    tree = {"format": Variant("s", "dir"), "volume": Variant("s", "tree")}
    await shared.pull(shared.news, shared.store("demo:1", "base", "top"), **DEMO, **tree)
    raw = b"boot".ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB)
    content = images.artifact([images.layer(raw=raw, compression="none")])
    machine = shared.registry.store(content, "machine:1")
    disk = {"format": Variant("s", "disk"), "volume": Variant("s", "machine.img")}
    await shared.pull(shared.news, machine, **disk)
    return pulled


async def listed(shared: SharedPool, who: User) -> dict[str, list[Any]]:
    rows = await who.ask("ListVolumes", "s", shared.pool)
    return {row[0]: row[1:] for row in rows}


async def remove(shared: SharedPool, name: str) -> dict[str, Any]:
    return await shared.run(shared.news, "RemoveVolume", "ssa{sv}", shared.pool, name, {})


async def error(shared: SharedPool, name: str) -> tuple[str, str]:
    job = await remove(shared, name)
    assert job["State"] == "failed", job
    return str(job["Error"]).rpartition(".")[2], str(job["Message"])


async def test_every_user_can_list_volumes_of_images(shared: SharedPool) -> None:
    pulled = await make_one_of_each(shared)
    (shared.path / "foreign.qcow2").write_bytes(b"somebody's")
    shared.host.virsh("pool-refresh", shared.pool)
    rows = await listed(shared, shared.games)
    assert {name: row[:3] for name, row in rows.items()} == {
        **{layer: ["layer", "", "qcow2"] for layer in pulled["volumes"]},
        "own.qcow2": ["volume", "demo", "qcow2"],
        "tree": ["directory", "demo", "dir"],
        "machine.img": ["disk", "machine:1", "raw"],
    }
    taken = (shared.path / "own.qcow2").stat().st_blocks * 512
    assert (rows["own.qcow2"][3], rows["tree"][3]) == (taken, 0)


async def test_everything_that_was_made_can_be_removed(shared: SharedPool) -> None:
    pulled = await make_one_of_each(shared)
    for name in ("own.qcow2", "tree", "machine.img"):
        job = await remove(shared, name)
        assert (job["Kind"], job["Source"], job["Pool"]) == ("remove-volume", name, shared.pool)
        assert (job["State"], job["Result"]["volumes"]) == ("done", [name]), job["Message"]
        assert not (shared.path / name).exists()
        assert name not in shared.host.volumes(shared.pool)
    assert set(await listed(shared, shared.games)) == set(pulled["volumes"])
    assert await error(shared, "own.qcow2")
    # The image can be removed now, and then nothing of it is left.
    freed = await shared.done(shared.news, "RemoveImage", "ssa{sv}", shared.pool, "demo", {})
    assert sorted(freed["volumes"]) == sorted(pulled["volumes"])
    assert await listed(shared, shared.games) == {}


async def test_removing_needs_the_right(shared: SharedPool) -> None:
    await make_one_of_each(shared)
    body: tuple[Any, ...] = (shared.pool, "own.qcow2", {})
    name, text = await shared.games.refused("RemoveVolume", "ssa{sv}", *body)
    assert (name, "org.virtlayer1.remove-volume" in text) == ("NotAuthorized", True)
    assert (shared.path / "own.qcow2").exists()


async def test_volume_in_use_is_not_removed(shared: SharedPool) -> None:
    await make_one_of_each(shared)
    own = shared.path / "own.qcow2"
    xml = shared.host.directory / "user.xml"
    xml.write_text(DOMAIN.format(name="user-of-volume", disk=own))
    shared.host.virsh("define", str(xml))
    name, text = await error(shared, "own.qcow2")
    assert (name, "user-of-volume" in text) == ("InUse", True)
    shared.host.virsh("undefine", "user-of-volume")
    overlay = shared.path / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(own), str(overlay))
    name, text = await error(shared, "own.qcow2")
    assert (name, "overlay.qcow2" in text) == ("InUse", True)
    overlay.unlink()
    assert (await remove(shared, "own.qcow2"))["State"] == "done"


async def test_directory_of_a_domain_is_not_removed(shared: SharedPool) -> None:
    await make_one_of_each(shared)
    xml = shared.host.directory / "user.xml"
    xml.write_text(CONTAINER.format(name="user-of-tree", directory=shared.path / "tree" / "."))
    shared.host.virsh("define", str(xml))
    name, text = await error(shared, "tree")
    assert (name, "user-of-tree" in text) == ("InUse", True)
    assert list((shared.path / "tree").iterdir())
    shared.host.virsh("undefine", "user-of-tree")
    assert (await remove(shared, "tree"))["State"] == "done"


async def test_volume_of_somebody_else_is_neither_listed_nor_removed(shared: SharedPool) -> None:
    await make_one_of_each(shared)
    # Kept, so that its inode is not used again.
    (shared.path / "own.qcow2").rename(shared.path / "kept.qcow2")
    for name in ("foreign.qcow2", "own.qcow2"):
        (shared.path / name).write_bytes(b"precious")
    shared.host.virsh("pool-refresh", shared.pool)
    foreign = ("foreign.qcow2", "own.qcow2", "kept.qcow2")
    assert set(foreign).isdisjoint(await listed(shared, shared.games))
    for name in (*foreign, "nothing"):
        assert (await error(shared, name))[0] == "VolumeNotFound"
    assert (shared.path / "own.qcow2").read_bytes() == b"precious"


async def test_layer_is_refused_and_so_is_an_unknown_pool(shared: SharedPool) -> None:
    pulled = await make_one_of_each(shared)
    body: tuple[Any, ...] = (shared.pool, pulled["volume"], {})
    name, text = await shared.news.refused("RemoveVolume", "ssa{sv}", *body)
    assert (name, "virtlayer prune" in text) == ("InvalidArgument", True)
    for member in ("ListVolumes", "DiskUsage"):
        assert (await shared.games.refused(member, "s", "nowhere"))[0] == "PoolNotFound"


async def test_disk_usage_shows_shared_and_reclaimable_bytes(
    shared: SharedPool,
) -> None:
    pulled = await make_one_of_each(shared)
    one = shared.store("one:1", "base", "one")
    first = await shared.pull(shared.news, one, name=Variant("s", "one"))
    two = shared.store("two:1", "base", "two")
    replace = {"name": Variant("s", "one"), "replace": Variant("b", True)}
    second = await shared.pull(shared.news, two, **replace)
    assert len({pulled["volumes"][0], first["volumes"][0], second["volumes"][0]}) == 1

    def taken(*names: str) -> int:
        return sum((shared.path / name).stat().st_blocks * 512 for name in names)

    usage = plain(Variant("a{sv}", await shared.games.ask("DiskUsage", "s", shared.pool)))
    base, top = pulled["volumes"]
    new, old = second["volume"], first["volume"]
    assert usage["layers"] == 4
    assert usage["layers-bytes"] == taken(base, top, new, old)
    assert usage["shared-bytes"] == taken(base)
    assert (usage["prunable-layers"], usage["prunable-bytes"]) == (1, taken(old))
    assert usage["volumes"] == 3
    assert usage["volumes-bytes"] == taken("own.qcow2", "machine.img")
    expected = [["demo", taken(top), taken(base)], ["one", taken(new), taken(base)]]
    assert [list(row) for row in usage["images"]] == expected
    assert 0 < usage["available"] <= usage["capacity"]
    freed = await shared.done(shared.news, "Prune", "sa{sv}", shared.pool, {})
    assert (freed["volumes"], freed["bytes"]) == ([old], usage["prunable-bytes"])
