# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cluster that other tests use."""

import subprocess

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.libvirt_host import private_host


def test_libvirt_sees_the_images_of_a_pool(ceph: OneNodeCeph, pool: CephPool) -> None:
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "one")
    with private_host() as host:
        secret = pool.define_in(host, "images")
        assert host.volumes("images") == ["one"]
        assert pool.key in host.virsh("secret-get-value", secret)
        host.virsh("pool-destroy", "images")


def test_stalled_osd_answers_nothing_until_it_continues(ceph: OneNodeCeph, pool: CephPool) -> None:
    with ceph.stalled():
        _assert_hangs(ceph, pool)
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "two")
    assert "two" in ceph.images(pool.name)


def test_killed_osd_keeps_its_data(ceph: OneNodeCeph, pool: CephPool) -> None:
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "one")
    with ceph.osd_killed():
        pass
    assert ceph.images(pool.name) == ["one"]


def test_full_cluster_lets_writes_wait(ceph: OneNodeCeph, pool: CephPool) -> None:
    with ceph.full():
        _assert_hangs(ceph, pool)
    ceph.rbd("create", "-p", pool.name, "--size", "1M", "two")


def _assert_hangs(ceph: OneNodeCeph, pool: CephPool) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            ["rbd", "create", "-p", pool.name, "--size", "1M", "one"],
            env=ceph.environment,
            timeout=3,
            check=False,
        )
