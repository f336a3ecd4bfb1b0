# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the images of an RBD pool are, by libvirt's description of the pool."""

import pytest

from virtlayer.errors import Libvirt, PoolUnsupported
from virtlayer.keeper.kinds.rbd.source import RbdSource, SecretReference, parse_source
from virtlayer.protocol.rbd import Monitor

_UUID = "01234567-89ab-cdef-0123-456789abcdef"


def described(source: str) -> str:
    return f"<pool type='rbd'><name>vms</name><uuid>{_UUID}</uuid><source>{source}</source></pool>"


def source(*hosts: str) -> RbdSource:
    monitors = tuple(Monitor(host, None) for host in hosts)
    return RbdSource("libvirt-pool", monitors, None, None)


def test_monitors_user_and_secret_are_read() -> None:
    text = described(
        "<host name='mon1.example' port='6789'/><host name='[fd00::2]'/>"
        "<name>libvirt-pool</name>"
        f"<auth type='ceph' username='libvirt'><secret uuid='{_UUID}'/></auth>"
    )
    assert parse_source(text) == RbdSource(
        "libvirt-pool",
        (Monitor("mon1.example", 6789), Monitor("fd00::2", None)),
        "libvirt",
        SecretReference(_UUID, ""),
    )


def test_secret_can_be_named_by_its_usage() -> None:
    text = described("<name>p</name><auth username='a'><secret usage='client.a secret'/></auth>")
    assert parse_source(text).secret == SecretReference("", "client.a secret")


def test_cluster_without_cephx_has_no_user() -> None:
    assert parse_source(described("<host name='mon'/><name>p</name>")) == RbdSource(
        "p", (Monitor("mon", None),), None, None
    )


@pytest.mark.parametrize("auth", ["<auth username='a'/>", "<auth><secret uuid='1'/></auth>"])
def test_user_and_secret_belong_together(auth: str) -> None:
    with pytest.raises(PoolUnsupported, match=r'"vms".*user name or a secret'):
        parse_source(described(f"<name>p</name>{auth}"))


def test_pool_without_a_source_is_an_error() -> None:
    with pytest.raises(Libvirt, match="no source/name"):
        parse_source(described(""))


def test_pool_of_the_same_name_may_be_the_same_one_at_any_monitors() -> None:
    ours = source("mon1")
    assert ours.may_be("libvirt-pool", (Monitor("mon2", None),), ())
    assert ours.may_be("libvirt-pool", (), ())
    assert not ours.may_be("other", (Monitor("mon1", None),), ())


def test_monitor_of_another_cluster_is_not_ours() -> None:
    ours, elsewhere = source("mon1"), [source("mon3", "mon4")]
    assert not ours.may_be("libvirt-pool", (Monitor("MON3", 6789),), elsewhere)
    assert ours.may_be("libvirt-pool", (Monitor("mon1", None), Monitor("mon3", None)), elsewhere)
    assert ours.may_be("libvirt-pool", (Monitor("mon5", None),), elsewhere)
