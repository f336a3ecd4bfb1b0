# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls into RBD pools, with everything real; what is there is read back with Ceph's programs."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import directory, file, image, layer
from tests.support.job_watch import watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import some_image, some_layers
from tests.support.rbd_user import RbdUser, rbd_user
from tests.support.virtlayerd import Daemon
from tests.support.volumes import fingerprint
from tests.support.waiting import until
from virtlayer.sizes import MIB

_LAYER = re.compile(r"layer-[0-9a-f]{64}")


@pytest.fixture
def user(ceph: OneNodeCeph, pool: CephPool, host: LibvirtHost, daemon: Daemon) -> RbdUser:
    return rbd_user(ceph, pool, host, daemon)


async def test_a_pull_makes_clones_that_later_pulls_share(
    user: RbdUser, registry: FaultyRegistry, tmp_path: Path
) -> None:
    source = registry.store(some_image("one", "two", "three"), "demo:1")
    pulled = await user.pull(source)
    volumes = pulled["volumes"]
    assert (pulled["layers_built"], pulled["volume"]) == (3, volumes[-1])
    assert pulled["path"] == f"{user.rbd.name}/{volumes[-1]}"
    assert all(_LAYER.fullmatch(name) for name in volumes)
    assert user.images == sorted(volumes)
    assert user.parents(volumes[-1]) == volumes[-2::-1]

    # The same as in files.
    files = user.host.start_pool("files")
    other = await user.run("pull", source, "files", "--tls-verify=false", "--name=demo")
    raw = tmp_path / "raw"
    done = await asyncio.create_subprocess_exec(
        *("qemu-img", "convert", "-O", "raw", files / other["volume"], raw)
    )
    assert await done.wait() == 0
    assert user.fingerprint(volumes[-1], tmp_path) == fingerprint(raw)

    again = await user.pull(source)
    assert (again["outcome"], again["bytes_downloaded"]) == ("unchanged", 0)
    assert again["volumes"] == volumes

    third = await user.pull(registry.store(some_image("one", "two", "4"), "demo:2"), name="other")
    assert (third["layers_built"], third["layers_reused"]) == (1, 2)
    assert third["volumes"][:2] == volumes[:2]
    assert len(user.images) == 4


async def test_a_deeper_image_has_six_layers(
    user: RbdUser, registry: FaultyRegistry, tmp_path: Path
) -> None:
    words = [f"word{number}" for number in range(8)]
    pulled = await user.pull(registry.store(some_image(*words), "deep:1"))
    assert (len(pulled["volumes"]), pulled["layers_built"]) == (6, 8)
    await user.run("create-volume", "demo", "web", user.pool)
    assert user.parents("web") == pulled["volumes"][::-1]
    with user.exported("web", tmp_path) as raw:
        done = await asyncio.create_subprocess_exec(
            *("debugfs", "-R", "ls -p /d", raw), stdout=asyncio.subprocess.PIPE
        )
        listed, _ = await done.communicate()
        assert all(f"/{word}/".encode() in listed for word in words), listed


async def test_a_large_layer_is_complete(
    user: RbdUser, registry: FaultyRegistry, tmp_path: Path
) -> None:
    content = layer(directory("d"), file("d/large", bytes(range(256)) * 4096 * 24))
    pulled = await user.pull(registry.store(image([content]), "large:1"))
    with user.exported(pulled["volume"], tmp_path) as raw:
        done = await asyncio.create_subprocess_exec(
            *("debugfs", "-R", f"dump /d/large {tmp_path}/large", raw)
        )
        assert await done.wait() == 0
    assert (tmp_path / "large").read_bytes() == bytes(range(256)) * 4096 * 24
    assert user.used(pulled["volume"]) < 40 * MIB


async def test_a_failed_and_a_cancelled_pull_leave_finished_layers_only(
    user: RbdUser, registry: FaultyRegistry
) -> None:
    content = image(some_layers("left", "right"))
    source = registry.store(content, "demo:1")
    top = json.loads(content.manifest)["layers"][1]["digest"]
    registry.faults[top] = Fault.WRONG_BYTES
    failed = await user.fail("pull", source, user.pool, "--tls-verify=false", "--name=demo")
    assert "corrupt at the source" in failed.stderr
    assert all(_LAYER.fullmatch(name) for name in user.images)

    registry.faults[top] = Fault.HANG_HALF_WAY
    async with watching(user.daemon.bus.address) as watch:
        job = await watch.pull(source, user.pool, name=Variant("s", "demo"))
        await until(lambda: user.unfinished() and len(user.images) == 2)
        await watch.ask(job, "org.virtlayer1.Job", "Cancel")
        assert (await watch.finished(job))["State"] == "cancelled"
    [base] = user.images
    assert _LAYER.fullmatch(base)

    del registry.faults[top]
    pulled = await user.pull(source)
    assert (pulled["layers_built"], pulled["layers_reused"]) == (1, 1)
    assert user.images == sorted(pulled["volumes"])


async def test_directories_and_disks_are_refused(user: RbdUser, registry: FaultyRegistry) -> None:
    source = registry.store(some_image("one"), "demo:1")
    for image_format in ("dir", "disk"):
        failed = await user.fail(
            *("pull", source, user.pool, "--tls-verify=false"),
            *(f"--format={image_format}", "--volume=whole"),
        )
        assert f"--format={image_format}" in failed.stderr
        assert "a pool of type dir, fs or netfs" in failed.stderr
    assert user.images == []
    assert registry.requested == []


async def test_the_osd_is_killed_during_a_build(
    user: RbdUser, registry: FaultyRegistry, tmp_path: Path
) -> None:
    content = image(some_layers("red", "green", "blue"))
    source = registry.store(content, "demo:1")
    digest = json.loads(content.manifest)["layers"][1]["digest"]
    registry.faults[digest] = Fault.HANG
    async with watching(user.daemon.bus.address) as watch:
        job = await watch.pull(source, user.pool, name=Variant("s", "demo"))
        await until(lambda: user.images and user.unfinished() != user.images)
        del registry.faults[digest]
        with user.ceph.osd_killed():
            registry.release()
            await asyncio.sleep(1)  # The build is to meet a cluster that does not answer.
        ended = await watch.finished(job)
    assert ended["State"] == "done", ended["Message"]
    assert user.images == sorted(ended["Result"]["volumes"])
    with user.exported(ended["Result"]["volume"], tmp_path):
        pass
