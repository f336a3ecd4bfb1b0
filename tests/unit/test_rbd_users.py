# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which RBD images a domain names, by libvirt's description of it."""

from pathlib import Path

import pytest

from virtlayer.keeper.domains.metadata import NAMESPACE
from virtlayer.keeper.kinds.rbd.users import (
    NetworkDisk,
    VolumeDisk,
    local_boot_users,
    parse_rbd_disks,
)
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.rbd import Monitor

_USER = 'the domain "web"'


def disks(devices: str) -> list[NetworkDisk | VolumeDisk]:
    text = f"<domain><name>web</name><devices>{devices}</devices></domain>"
    return list(parse_rbd_disks(_USER, text))


def test_network_disk_names_pool_image_and_monitors() -> None:
    found = disks(
        "<disk type='network'><driver name='qemu' type='raw'/>"
        "<auth username='libvirt'><secret type='ceph' uuid='1'/></auth>"
        "<source protocol='rbd' name='vms/web'><host name='mon1' port='6789'/>"
        "<host name='mon2'/></source><target dev='vda'/></disk>"
    )
    monitors = (Monitor("mon1", 6789), Monitor("mon2", None))
    assert found == [NetworkDisk(_USER, "vms", "web", monitors)]


def test_disk_without_monitors_is_one_of_the_hosts_ceph_conf() -> None:
    found = disks("<disk type='network'><source protocol='rbd' name='vms/web'/></disk>")
    assert found == [NetworkDisk(_USER, "vms", "web", ())]


def test_image_without_a_pool_is_in_the_pool_rbd() -> None:
    found = disks("<disk type='network'><source protocol='rbd' name='web'/></disk>")
    assert found == [NetworkDisk(_USER, "rbd", "web", ())]


def test_image_in_a_namespace_is_another_one() -> None:
    found = disks("<disk type='network'><source protocol='rbd' name='vms/space/web'/></disk>")
    assert found == [NetworkDisk(_USER, "vms", "space/web", ())]


def test_volume_disk_names_a_pool_of_libvirt() -> None:
    found = disks("<disk type='volume'><source pool='images' volume='web'/></disk>")
    assert found == [VolumeDisk(_USER, "images", "web")]


@pytest.mark.parametrize("element", ["backingStore", "mirror"])
def test_images_below_or_beside_a_disk_are_found(element: str) -> None:
    found = disks(
        f"<disk type='file'><source file='/pool/a.qcow2'/><{element} type='network'>"
        f"<source protocol='rbd' name='vms/base'/></{element}></disk>"
    )
    assert found == [NetworkDisk(_USER, "vms", "base", ())]


def test_disk_of_a_snapshot_is_found() -> None:
    text = (
        "<domainsnapshot><name>before</name><disks><disk name='vda' type='network'>"
        "<source protocol='rbd' name='vms/snapshot'/></disk></disks>"
        "<domain><devices><disk type='network'><source protocol='rbd' name='vms/web'/></disk>"
        "</devices></domain></domainsnapshot>"
    )
    found = {disk.image for disk in parse_rbd_disks(_USER, text) if isinstance(disk, NetworkDisk)}
    assert found == {"snapshot", "web"}


def test_other_disks_and_interfaces_are_ignored() -> None:
    assert not disks(
        "<disk type='network'><source protocol='nbd' name='x'/></disk>"
        "<disk type='file'><source file='/x'/></disk>"
        "<interface type='network'><source network='default'/></interface>"
    )


def test_local_kernels_of_machines_of_the_pool_are_in_use() -> None:
    kernel, initrd = f"kernel-{'1' * 64}", f"initrd-{'2' * 64}"
    directory, pool = Path("/boot/files"), Pool("images", "a pool", "rbd", Path("vms"))

    def machine(pool: str, directory: str) -> tuple[str, str]:
        metadata = f"<virtlayer:machine xmlns:virtlayer='{NAMESPACE}' pool='{pool}' boot='disk'/>"
        files = f"<kernel>{directory}/{kernel}</kernel><initrd>{directory}/{initrd}</initrd>"
        text = f"<domain><metadata>{metadata}</metadata><os>{files}</os></domain>"
        return _USER, text

    found = local_boot_users(directory, pool, [machine("a pool", "/boot/files")])
    assert list(found) == [(kernel, _USER), (initrd, _USER)]
    for other in (machine("another pool", "/boot/files"), machine("a pool", "/elsewhere")):
        assert list(local_boot_users(directory, pool, [other])) == []
    assert list(local_boot_users(directory, pool, [(_USER, "<domain/>")])) == []
