# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines on RBD pools that boot again, or for a while; `make soak` runs it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.rbd.test_booted_machine import BOX
from tests.support.booted_machines import PATIENCE, MachineUser, machine_user
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host

KERNEL = str(debian_kernel().image)


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    """One libvirtd for the tests of this file."""
    with machine_host() as host:
        yield host


@pytest.fixture
async def user(host: LibvirtHost, pool: CephPool, tmp_path: Path) -> AsyncIterator[MachineUser]:
    """A user whose pool has the image "box"."""
    async with machine_user(
        host, tmp_path, start_pool=lambda name: pool.define_in(host, name)
    ) as user:
        await user.pull(BOX, "box")
        yield user


def local_directory(user: MachineUser) -> Path:
    """Where the local files of machines are, seen from outside."""
    if user.host.session:
        return user.daemon.directory / "data/virtlayer/boot"
    return user.host.directory / "private/var/lib/virtlayer/boot"


async def made(user: MachineUser, script: str, **more: Variant) -> None:
    """Make and start the machine "web", which runs a script."""
    options = {
        "kernel": Variant("s", KERNEL),
        "command": Variant("as", ["-c", script]),
        "memory": Variant("t", 256 << 20),
        "vcpus": Variant("u", 1),
        "network": Variant("s", "none"),
    }
    await user.create("box", "web", options | more)


async def test_machine_boots_again_after_its_kernel_was_lost(user: MachineUser) -> None:
    await made(user, "cat /marker; echo again >/marker; sync")
    await user.has_state("web", "stopped")
    for file in local_directory(user).glob("kernel-*"):
        file.unlink()
    with pytest.raises(AssertionError, match="kernel-"):
        user.host.virsh("start", "web")
    await user.tell("start", "web")
    await user.has_state("web", "stopped")
    assert (await user.tell("logs", "--all", "web")).endswith("again\n")
    assert list(local_directory(user).glob("kernel-*")) != []


async def test_nothing_is_left_of_an_ephemeral_machine(
    user: MachineUser, ceph: OneNodeCeph, pool: CephPool
) -> None:
    options = (f"--kernel={KERNEL}", "--memory=256M", "--cpus=1", "--network=none")
    ended = await user.ended("run", "--rm", *options, "--pool", user.pool, "box", "-c", "exit 3")
    assert ended.status == 3, ended.stderr
    async with asyncio.timeout(PATIENCE):
        while [name for name in ceph.images(pool.name) if name.startswith("box")]:
            await asyncio.sleep(0.5)
    assert user.host.virsh("list", "--all", "--name") == ""
    await user.tell("prune", user.pool)
    assert [one for one in local_directory(user).iterdir() if one.is_file()] == []
    assert [name for name in ceph.images(pool.name) if not name.startswith("layer-")] == []


async def test_running_machine_is_removed_by_force(
    user: MachineUser, ceph: OneNodeCeph, pool: CephPool
) -> None:
    await made(user, "while :; do date >/now; sync; done")
    await user.tell("rm", "--force", "web")
    assert "web" not in ceph.images(pool.name)


async def test_machine_is_not_started_while_the_cluster_does_not_answer(
    user: MachineUser, ceph: OneNodeCeph
) -> None:
    await made(user, "cat /marker", start=Variant("b", False))
    with ceph.stalled():
        ended = await user.ended("start", "web")
    # QEMU would wait for the cluster, and libvirt for QEMU.
    assert (ended.status, await user.state("web")) == (5, "stopped")
    await user.tell("start", "web")
