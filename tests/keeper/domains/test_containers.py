# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers of libvirt-LXC: their root is a directory of the pool, and their ids are mapped."""

import socket
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines, state_after
from tests.keeper.domains.test_running import Log
from tests.keeper.requests import claim_of, delete, directory_of
from tests.support.guest import busybox_tree, parse_records
from tests.support.libvirt_host import LibvirtHost, running_host
from tests.support.raw_keeper import raw_keeper
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import Record, RecordKind

pytestmark = pytest.mark.root

_BASE, _COUNT = 1_048_576, 65_536
_SCRIPT = "cat /proc/self/uid_map; echo $(ls /sys/class/net); read line; echo $line; sleep 1000"


@pytest.fixture
def directory(machines: Machines, tmp_path: Path) -> str:
    """A directory in the pool with the content of an image, for containers."""
    machines.pool.path.chmod(0o711)
    claim = claim_of(machines.keeper, machines.pool)
    purpose = "contained-directory"
    staging = machines.keeper.get("stage", pool=machines.pool.uuid, claim=claim, purpose=purpose)[
        "staging"
    ]
    [root] = directory_of(machines.pool).iterdir()
    subprocess.run(["cp", "-a", f"{busybox_tree(tmp_path)}/.", root], check=True)
    subprocess.run(["chown", "-hR", f"{_BASE}:{_BASE}", root], check=True)
    machines.keeper.get("flush", staging=staging, file=root.name)
    machines.keeper.get("place", staging=staging, file=root.name, name="tree", build=None)
    machines.keeper.get("release", number=claim, failed=False)
    return "tree"


def _fields(directory: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "lxc",
        "boot": "container",
        "disk": directory,
        "disk_format": "dir",
        "id_map": {"base": _BASE, "count": _COUNT},
        "has_config": True,
        "has_streams": True,
        "network": {"kind": "default", "name": "", "ports": []},
        **more,
    }


def test_container_is_started_followed_stopped_and_removed(
    machines: Machines, directory: str
) -> None:
    config = GuestConfig(arguments=("sh", "-c", _SCRIPT), interactive=True).encoded()
    own = machines.made(config, name="box", **_fields(directory))
    assert machines.define(config, **_fields(directory)).error == "InUse"
    done = delete(machines.keeper, machines.pool, directory)
    assert (done["names"], done["error"]) == ([], "InUse")
    since = machines.keeper.get("list-domains", since=None, name=None)["generation"]
    assert machines.state(own, "start") == "running"
    output = Log(machines, own, "output")
    # No interface but loopback: the network of the host is not shared.
    output.wait_for(b"lo\n")
    assert str(_BASE).encode() in output.content
    reply = machines.keeper.ask("open-port", uuid=own, port="console", rotated=0)
    assert reply.error == "", reply
    with socket.socket(fileno=reply.descriptors[0]) as console:
        console.sendall(b"typed\n")
        output.wait_for(b"typed\n")
    assert machines.state(own, "press-button") in {"running", "stopped"}
    state_after(machines, since=since, name="box", state="stopped")
    output.wait_for(Record(RecordKind.EXIT, b"\x8f").encoded())
    output.close()
    assert parse_records(output.content)[0].kind is RecordKind.STARTED
    assert machines.state(own, "remove") is None
    assert (machines.own_files, machines.notes) == (set(), set())
    assert delete(machines.keeper, machines.pool, directory)["names"] == [directory]


def test_ephemeral_container_disappears_when_it_stops(machines: Machines, directory: str) -> None:
    config = GuestConfig(arguments=("sleep", "1000")).encoded()
    own = machines.made(config, name="brief", **_fields(directory, ephemeral=True))
    assert machines.list()[0]["state"] == "created"
    assert machines.state(own, "start") == "running"
    [known] = machines.list()
    assert (known["state"], known["ephemeral"], known["type"]) == ("running", True, "lxc")
    assert machines.state(own, "destroy") is None
    assert machines.list() == []
    # Another keeper finds the output by the note in the pool.
    with raw_keeper(machines.host.uri, inside=machines.host.as_owner()) as other:
        other.get("find-pool", name=machines.pool.name)
        Log(Machines(machines.host, other, machines.pool), own, "output").close()
    assert machines.state(own, "remove") is None
    never = machines.made(config, name="never", **_fields(directory, ephemeral=True))
    assert machines.state(never, "destroy") is None
    assert machines.state(never, "remove") is None
    assert (machines.own_files, machines.notes) == (set(), set())


def test_container_always_has_mapped_ids_and_a_network_of_its_own(
    machines: Machines, directory: str
) -> None:
    machines.made(b"config", name="box", **_fields(directory))
    uri = machines.host.uri.replace("qemu", "lxc", 1)
    text = machines.host.virsh("--connect", uri, "dumpxml", "box")
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    assert {one.get("target") for one in root.iterfind("idmap/*")} == {str(_BASE)}
    assert root.find("features/privnet") is not None
    mounts = root.findall("devices/filesystem")
    targets = [mount.find("target") for mount in mounts]
    read_only = {
        target.get("dir"): mount.find("readonly") is not None
        for mount, target in zip(mounts, targets, strict=True)
        if target is not None
    }
    assert read_only == {
        "/": False,
        "/dev/virtlayer-init": True,
        "/dev/virtlayer-config": True,
        "/dev/virtlayer-output": False,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"id_map": {"base": 0, "count": _COUNT}},
        {"id_map": {"base": 1000, "count": 1}},
        {"id_map": {"base": _BASE, "count": 0}},
        {"id_map": {"base": _BASE, "count": 2**32}},
        {"id_map": None},
        {"boot": "own-initrd"},
        {"type": "qemu"},
        {"disk_format": "qcow2"},
        {"has_seed": True},
    ],
)
def test_container_without_its_own_ids_is_refused(
    machines: Machines, directory: str, fields: dict[str, Any]
) -> None:
    assert machines.check(**{**_fields(directory), **fields}).error == "Internal"


def test_container_cannot_publish_ports(machines: Machines, directory: str) -> None:
    port = {"address": "", "host": 8080, "guest": 80, "transport": "tcp"}
    for network in (
        {"kind": "user", "name": "", "ports": []},
        {"kind": "default", "name": "", "ports": [port]},
    ):
        reply = machines.check(**_fields(directory, network=network))
        assert reply.error == "InvalidArgument", reply


class _HostWithoutLxc(LibvirtHost):
    """A libvirtd that does not have the driver of containers."""

    @property
    def environment(self) -> dict[str, str]:
        drivers = self.directory / "drivers"
        if not drivers.exists():
            drivers.mkdir()
            [installed] = Path("/usr/lib").glob("*/libvirt/connection-driver")
            for file in installed.iterdir():
                if "lxc" not in file.name:
                    (drivers / file.name).symlink_to(file)
        return {**super().environment, "LIBVIRT_DRIVER_DIR": str(drivers)}


def test_host_without_libvirt_lxc_has_machines_only() -> None:
    with (
        running_host(lambda directory: _HostWithoutLxc(directory, session=False)) as host,
        raw_keeper(host.uri) as keeper,
    ):
        path = host.start_pool("default")
        pool = TestPool("default", keeper.get("find-pool", name="default")["uuid"], path)
        machines = Machines(host, keeper, pool)
        assert machines.list() == []
        assert machines.check().error == ""
        reply = machines.check(**_fields("tree"))
        assert (reply.error, "libvirt-daemon-driver-lxc" in reply.text) == ("Unsupported", True)
        # A deletion looks for users of volumes in the machines alone.
        layer = pool.layer("1")
        assert delete(keeper, pool, layer)["names"] == [layer]


def test_session_has_no_containers(machines: Machines) -> None:
    with raw_keeper() as keeper:
        reply = keeper.ask("define-domain", **machines.request(**_fields("tree")))
    assert (reply.error, "libvirt-LXC" in reply.text) == ("Unsupported", True)
