# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest boots from a clone of layers in a Ceph cluster, and writes into the clone alone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.booted_machines import machine_user
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.images import directory, file, image, layer, symlink
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host

BOX = image(
    [
        layer(
            *map(directory, ("bin", "dev", "proc", "sys", "run", "tmp", "etc")),
            file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
            *(symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "sync", "sleep")),
        ),
        layer(file("marker", b"of the layer\n")),
    ],
    config={"config": {"Entrypoint": ["/bin/sh"]}},
)
SCRIPT = "cat /marker; echo of the guest >/marker; sync; sleep 2; exit 7"


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    """A libvirtd of the test's own, whose machines virtlayer makes."""
    with machine_host() as host:
        yield host


def marker(ceph: OneNodeCeph, image: str, place: Path) -> str:
    """What the file /marker has in the file system of an image or snapshot."""
    ceph.rbd("export", image, str(place))
    command = ["debugfs", "-R", "cat /marker", str(place)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    place.unlink()
    return found


def processes_with(secret: str) -> list[str]:
    """The processes that have a text in their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if secret.encode() in (process / name).read_bytes():
                    found.append(f"{process.name} {name}")
            except OSError:
                continue
    return found


async def test_machine_boots_from_a_clone(
    host: LibvirtHost, ceph: OneNodeCeph, pool: CephPool, tmp_path: Path
) -> None:
    options = {
        "kernel": Variant("s", str(debian_kernel().image)),
        "command": Variant("as", ["-c", SCRIPT]),
        "memory": Variant("t", 256 << 20),
        # On a busy host, the timers of a second emulated processor can stall.
        "vcpus": Variant("u", 1),
        "network": Variant("s", "none"),
    }
    async with machine_user(
        host, tmp_path, start_pool=lambda name: pool.define_in(host, name)
    ) as user:
        await user.pull(BOX, "box")
        made = await user.create("box", "web", options)
        assert (made["volume"], made["path"]) == ("web", f"{pool.name}/web")
        assert processes_with(pool.key) == []
        await user.has_state("web", "stopped")
        machine = await user.machine("web")
        assert (machine["volume"], machine["exit_status"]) == ("web", 7)
        assert await user.tell("logs", "web") == "of the layer\n"
        assert marker(ceph, f"{pool.name}/web", tmp_path / "web") == "of the guest\n"
        [top] = {
            name
            for name in ceph.images(pool.name)
            if name.startswith("layer-") and "web" in ceph.rbd("children", f"{pool.name}/{name}")
        }
        assert marker(ceph, f"{pool.name}/{top}@virtlayer", tmp_path / "top") == "of the layer\n"
        await user.tell("rm", "web")
        # A domain that the user defines has the same access.
        printed = await user.tell("xml", "box", user.pool, "--volume=own", "--kernel=/dev/null")
        description = host.directory / "own.xml"
        description.write_text(printed)
        host.virsh("define", str(description))
        assert f"{pool.name}/own" in host.virsh("domblklist", "own")
        assert pool.key not in printed
        assert "web" not in ceph.images(pool.name)
