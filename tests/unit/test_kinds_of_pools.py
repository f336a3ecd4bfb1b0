# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kinds of pools there are, and what is said about the others."""

from pathlib import Path

import pytest

from tests.support.keeper import NO_LIBVIRT
from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.directory.kind import DirectoryKind
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.kinds.rbd.kind import RbdKind
from virtlayer.keeper.kinds.rbd.process import own_process
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.xml import parse_pool
from virtlayer.protocol.pools import RbdAccess

_POOL = """\
<pool type='{kind}'>
  <name>default</name>
  <uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>
  <target><path>/pool</path></target>
</pool>
"""

_RBD_POOL = """\
<pool type='rbd'>
  <name>default</name>
  <uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>
  <source><host name='mon.example'/><name>{source}</name></source>
</pool>
"""


def kinds() -> Kinds:
    hypervisor = Hypervisor(NO_LIBVIRT)
    return Kinds(hypervisor, Pools(hypervisor), own_process)


@pytest.mark.parametrize("kind", ["dir", "fs", "netfs"])
def test_pools_of_files_are_one_kind(kind: str) -> None:
    pool = parse_pool(_POOL.format(kind=kind))
    assert isinstance(kinds().of(pool), DirectoryKind)


def test_rbd_pools_are_another_kind() -> None:
    pool = parse_pool(_RBD_POOL.format(source="vms"))
    assert (pool.kind, pool.path) == ("rbd", Path("vms"))
    assert isinstance(kinds().of(pool), RbdKind)


def test_rbd_pool_says_how_its_images_are_reached() -> None:
    assert parse_pool(_RBD_POOL.format(source="vms")).access == RbdAccess(("mon.example",))
    hosts = "<host name='192.0.2.1' port='6790'/><host name='2001:db8::1' port='6789'/>"
    auth = "<auth type='ceph' username='libvirt'><secret usage='of vms'/></auth>"
    text = _RBD_POOL.format(source="vms").replace("<host name='mon.example'/>", hosts + auth)
    monitors = ("192.0.2.1:6790", "[2001:db8::1]:6789")
    assert parse_pool(text).access == RbdAccess(monitors, "libvirt", usage="of vms")


def test_rados_namespace_is_refused() -> None:
    with pytest.raises(PoolUnsupported, match=r'"default" is in a RADOS namespace \("vms/web"\)'):
        parse_pool(_RBD_POOL.format(source="vms/web"))


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("logical", "a logical volume with a file system"),
        ("zfs", "a data set with a mount point"),
        ("iscsi", "a file system on the device"),
        ("iscsi-direct", "a file system on the device"),
        ("scsi", "a file system on the device"),
        ("mpath", "a file system on the device"),
        ("disk", "a file system on the device"),
        ("gluster", "a pool of type netfs"),
        ("vstorage", "a pool of type dir"),
        ("of-tomorrow", "a pool of type dir, fs, netfs or rbd"),
    ],
)
def test_other_kinds_are_refused_with_advice(kind: str, advice: str) -> None:
    with pytest.raises(PoolUnsupported) as raised:
        parse_pool(_POOL.format(kind=kind))
    assert f'The pool "default" is of type {kind}' in raised.value.message
    assert advice in raised.value.message
