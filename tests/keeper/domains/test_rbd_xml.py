# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt takes the description of a machine whose disk is an RBD image."""

import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.support.libvirt_host import LibvirtHost
from virtlayer.keeper.disks import parse_disks
from virtlayer.keeper.domains.architecture import host_architecture
from virtlayer.keeper.domains.description import known_domain, parse_domain
from virtlayer.keeper.domains.logs import Logs
from virtlayer.keeper.domains.xml import Machine, machine_xml
from virtlayer.keeper.kinds.machine_storage import MachineStorage, RbdDisk
from virtlayer.protocol.domains import (
    Boot,
    DefineDomain,
    DomainType,
    KnownDomain,
    Network,
    NetworkKind,
    State,
    Step,
)
from virtlayer.protocol.rbd import Monitor

SECRET = "5a1b3f0e-4a4e-4d0a-8f51-0d9c8a1f9c11"
LOCAL = Path("/var/lib/virtlayer/boot")
KERNEL, INITRD = f"kernel-{'1' * 64}", f"initrd-{'2' * 64}"


def described(host: LibvirtHost, disk: RbdDisk) -> tuple[ElementTree.Element, str]:
    """Define a machine with a disk; return what libvirt makes of it, and its UUID."""
    own = str(uuid.uuid4())
    request = DefineDomain(
        step=Step.DEFINE,
        claim=None,
        name=f"rbd-{own}",
        uuid=own,
        pool=str(uuid.uuid4()),
        type=DomainType.QEMU,
        memory=64 << 20,
        processors=1,
        network=Network(kind=NetworkKind.NONE),
        boot=Boot.OWN_INITRD,
        kernel=KERNEL,
        initrd=INITRD,
        disk=disk.image,
        disk_format="raw",
        has_config=True,
        has_seed=False,
        has_streams=True,
        id_map=None,
        autostart=False,
        ephemeral=False,
        image="debian:13",
        digest="",
        os_id="",
    )
    machine = Machine(
        request=request,
        type=DomainType.QEMU,
        network=request.network,
        architecture=host_architecture(),
        storage=MachineStorage(disk, LOCAL),
        logs=Logs(host.directory, own),
    )
    file = host.directory / "machine.xml"
    file.write_text(machine_xml(machine))
    host.virsh("define", str(file))
    try:
        text = host.virsh("dumpxml", "--inactive", own)
        return ElementTree.fromstring(text), own  # noqa: S314 -- libvirt wrote it
    finally:
        host.virsh("undefine", own)


def attributes(root: ElementTree.Element, path: str) -> list[dict[str, Any]]:
    return [dict(one.attrib) for one in root.iterfind(path)]


def test_disk_is_a_network_disk_with_the_secret(host: LibvirtHost) -> None:
    monitors = (Monitor("192.0.2.1", 6790), Monitor("2001:db8::1", None))
    root, own = described(host, RbdDisk("images", "web", monitors, "virtlayer", SECRET))
    disk = root.find("devices/disk")
    assert disk is not None
    assert disk.get("type") == "network"
    [driver] = attributes(disk, "driver")
    assert driver == {"name": "qemu", "type": "raw", "discard": "unmap"}
    [source] = attributes(disk, "source")
    assert (source["protocol"], source["name"]) == ("rbd", "images/web")
    # Without a port, QEMU would not reach a monitor.
    assert attributes(disk, "source/host") == [
        {"name": "192.0.2.1", "port": "6790"},
        {"name": "2001:db8::1", "port": "3300"},
        {"name": "2001:db8::1", "port": "6789"},
    ]
    assert attributes(disk, "source/auth") == [{"username": "virtlayer"}]
    assert attributes(disk, "source/auth/secret") == [{"type": "ceph", "uuid": SECRET}]
    assert root.findtext("os/kernel") == str(LOCAL / KERNEL)
    assert root.findtext("os/initrd") == str(LOCAL / INITRD)
    files = {str(one.path) for one in parse_disks("web", ElementTree.tostring(root, "unicode"))}
    assert {str(LOCAL / KERNEL), str(LOCAL / f"config-{own}.raw")} <= files


def test_cluster_without_cephx_needs_no_secret(host: LibvirtHost) -> None:
    root, _ = described(host, RbdDisk("images", "web", (), None, None))
    assert attributes(root, "devices/disk/source/auth") == []
    assert attributes(root, "devices/disk/source/host") == []


def test_disk_is_found_by_the_name_of_its_image(host: LibvirtHost) -> None:
    root, _ = described(host, RbdDisk("images", "web", (), "virtlayer", SECRET))
    assert known(root).disk == "web"
    source = root.find("devices/disk/source")
    assert source is not None
    # Another program has given it another disk.
    source.set("name", "images/other")
    assert known(root).disk == ""


def known(root: ElementTree.Element) -> KnownDomain:
    found = parse_domain(ElementTree.tostring(root, "unicode"))
    assert found is not None
    return known_domain(found, State.STOPPED, is_persistent=True, autostart=False)
