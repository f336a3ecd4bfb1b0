# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disks in the domains that the command prints."""

from xml.etree import ElementTree

import pytest

from virtlayer.client.domain import Domain, Guest, RbdDisk, lxc_domain, qemu_domain
from virtlayer.client.startup import parse_startup
from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import parse_domain_name

GUEST = Guest(
    name=parse_domain_name("web"),
    volume="web",
    architecture="amd64",
    startup=parse_startup('{"config": {"Cmd": ["/bin/sh"]}}'),
    memory=2**30,
)


def source_of(disk: RbdDisk) -> ElementTree.Element:
    domain: Domain = qemu_domain(GUEST, None, kvm=False)
    root = ElementTree.fromstring(domain.with_disk(disk))  # noqa: S314 -- our own
    [found] = root.iterfind("devices/disk")
    assert found.get("type") == "network"
    source = found.find("source")
    assert source is not None
    assert (source.get("protocol"), source.get("name")) == ("rbd", "vms/web")
    return source


def test_rbd_image_is_a_network_disk_with_a_secret() -> None:
    monitors = ("192.0.2.1:6790", "[2001:db8::1]")
    source = source_of(RbdDisk("vms/web", monitors, "libvirt", "a UUID", ""))
    assert [dict(host.attrib) for host in source.iterfind("host")] == [
        {"name": "192.0.2.1", "port": "6790"},
        {"name": "2001:db8::1", "port": "3300"},
        {"name": "2001:db8::1", "port": "6789"},
    ]
    assert [dict(one.attrib) for one in source.iterfind("auth")] == [{"username": "libvirt"}]
    secrets = [dict(one.attrib) for one in source.iterfind("auth/secret")]
    assert secrets == [{"type": "ceph", "uuid": "a UUID"}]


def test_secret_can_be_named_by_its_usage() -> None:
    source = source_of(RbdDisk("vms/web", (), "libvirt", "", "of vms"))
    secrets = [dict(one.attrib) for one in source.iterfind("auth/secret")]
    assert secrets == [{"type": "ceph", "usage": "of vms"}]


def test_cluster_without_cephx_needs_no_secret() -> None:
    assert list(source_of(RbdDisk("vms/web", (), "", "", ""))) == []


def test_container_cannot_run_on_an_rbd_image() -> None:
    with pytest.raises(InvalidArgument, match="cannot run on an RBD image"):
        lxc_domain(GUEST).with_disk(RbdDisk("vms/web", (), "", "", ""))
