# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to the claims and the lock of processes that were killed, stopped or cut off."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.rbd.table.conftest import MakeHost
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_host import RbdHost, Refused
from tests.support.rbd_host_process import connected, made_claim, taken_lock
from tests.support.waiting import PATIENCE
from virtlayer.errors import InUse, PoolUnavailable
from virtlayer.protocol.claims import PoolLocked
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.failures import NoAnswer
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.process_entry import ProcessEntry, addresses_in
from virtlayer.rbd.sweep import sweep
from virtlayer.rbd.table import PoolTable

LEASE = 3
"""Seconds."""
LONGER = 4.3
"""Seconds that an OSD adds at most."""
KEY = "a" * 64
FILE = "0" * 64 + ".json"


def until[T](attempt: Callable[[], T]) -> T:
    """Try again while another process has the lock."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except PoolLocked:
            assert time.monotonic() < deadline


def until_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_process_loses_everything(
    shared_pool: CephPool, table: PoolTable, images: Any, new_host: MakeHost
) -> None:
    here = new_host()
    mine = made_claim(here, ["mine"])
    with (
        RbdHost(shared_pool, lease_seconds=2 * LEASE) as living,
        RbdHost(shared_pool, lease_seconds=LEASE) as killed,
        RbdHost(shared_pool) as other,
    ):
        began = time.monotonic()
        kept = living.claim(["living"])
        number = killed.claim(["x"])
        assert killed.try_build(number, KEY) == []
        killed.ask(do="create_image", number=number, file="1")
        killed.lock()
        assert mine.try_build([KEY]) == {KEY}
        killed.kill()
        # Both try to take over what it had.
        for host in (living, other):
            host.tell(do="lock_once", seconds=PATIENCE)
        assert [host.answer() for host in (living, other)] == [["living", "mine"]] * 2
        assert mine.try_build([KEY]) == frozenset()
        assert len(rbd.RBD().list(images)) == 1
        assert sweep(here, images) == 1
        assert rbd.RBD().list(images) == []
        # By now, the lease of the living one has been renewed.
        time.sleep(max(0.0, began + 2 * LEASE + LONGER - time.monotonic()))
        lock = taken_lock(here)
        assert sorted(lock.claimed.values()) == [("living",), ("mine",)]
        lock.release()
        living.end(kept)
        living.ask(do="end_lease")
        other.ask(do="end_lease")
    mine.end()
    here.lease.end()
    assert [key for key, _ in table.scan("")] == [keys.FORMAT]
    assert here.lease.locks.processes() == set()


def test_stopped_process_changes_nothing_when_it_goes_on(
    shared_pool: CephPool, table: PoolTable, images: Any, new_host: MakeHost
) -> None:
    here = new_host()
    rbd.RBD().create(images, "image", 2**20)
    # It neither ends itself nor checks anything: only the cluster refuses what it asks for.
    with RbdHost(shared_pool, lease_seconds=LEASE, lives_on=True) as stopped:
        number = stopped.lock()
        assert stopped.ask(do="change_unchecked", key="unchecked", value="before")
        assert stopped.ask(do="rename_image", old="image", new="renamed") is None
        stopped.stop()
        lock = until(lambda: taken_lock(here))
        stopped.go_on()
        with pytest.raises(Refused, match="cut this host off"):
            stopped.ask(do="change_unchecked", key="unchecked", value="after")
        assert stopped.ask(do="rename_image", old="renamed", new="image") is not None
        with pytest.raises(Refused) as refused:
            stopped.put(number, FILE, None, "x")
        assert refused.value.name == "PoolUnavailable"
    assert table.get(["unchecked"]) == {"unchecked": b"before"}
    assert rbd.RBD().list(images) == ["renamed"]
    lock.release()


def test_stopped_process_ends_when_it_goes_on(shared_pool: CephPool) -> None:
    with RbdHost(shared_pool, lease_seconds=LEASE) as stopped:
        number = stopped.claim(["x"])
        stopped.stop()
        time.sleep(LEASE)
        stopped.go_on()
        with pytest.raises(Refused, match="could not renew its lease"):
            stopped.ask(do="add", number=number, names=["y"])
        assert stopped.status(PATIENCE) == os.EX_TEMPFAIL


def test_process_ends_when_cluster_stalls(
    ceph: OneNodeCeph, shared_pool: CephPool, new_host: MakeHost
) -> None:
    with RbdHost(shared_pool, lease_seconds=4, op_timeout=2) as host:
        host.claim(["x"])
        with ceph.stalled():
            began = time.monotonic()
            with pytest.raises(Refused, match=r"does not answer|could not renew") as refused:
                host.claim(["late"])
            assert refused.value.name == "PoolUnavailable"
            assert time.monotonic() - began < 10
            assert host.status(PATIENCE) == os.EX_TEMPFAIL
    # The cluster may make that claim when it goes on. It ends like the other one.
    here = new_host()

    def is_over() -> bool:
        lock = taken_lock(here)
        lock.release()
        return not lock.claimed

    until_true(is_over)


def test_process_ends_when_an_outcome_is_unknown(
    ceph: OneNodeCeph, shared_pool: CephPool, table: PoolTable
) -> None:
    assert not table.is_used()
    ends: list[int] = []
    with (
        connected(shared_pool, op_timeout=1) as cluster,
        cluster.open_ioctx(shared_pool.name) as ioctx,
        cluster.open_ioctx(shared_pool.name) as images,
    ):
        entry = ProcessEntry(addresses_in(cluster.get_addrs()), "host", os.getpid())
        lease = Lease(PoolTable(ioctx, shared_pool.name), entry, end_process=ends.append)
        lease.hold()
        with lease.certain(), pytest.raises(rbd.ImageNotFound):
            rbd.RBD().rename(images, "missing", "image")
        lease.check()
        with ceph.stalled(), pytest.raises(NoAnswer), lease.certain():
            rbd.RBD().rename(images, "missing", "image")
        with pytest.raises(PoolUnavailable, match="does not answer"):
            lease.check()
        until_true(lambda: ends == [os.EX_TEMPFAIL])


def test_process_whose_entry_was_deleted_ends(shared_pool: CephPool, table: PoolTable) -> None:
    with RbdHost(shared_pool) as host:
        number = host.claim(["x"])
        [(key, _)] = table.scan(keys.PROCESSES)
        table.change({}, {key: None})
        with pytest.raises(Refused, match="Another host has ended what this host did"):
            host.ask(do="add", number=number, names=["y"])
        assert host.status(PATIENCE) == os.EX_TEMPFAIL


@pytest.mark.parametrize(
    "entry",
    [
        b"x",
        b"[]",
        b'{"addresses": [], "host": "x", "pid": 1}',
        b'{"addresses": ["127.0.0.1"], "host": "x", "pid": 1}',
        b'{"addresses": ["127.0.0.1:0/1 --yes"], "host": "x", "pid": 1}',
        b'{"addresses": [1], "host": "x", "pid": 1}',
        b'{"addresses": ["127.0.0.1:0/1"], "host": 1, "pid": 1}',
        b"[" * 4000,
        b'{"addresses": ["127.0.0.1:0/1"], "host": "x", "pid": 1, "x": "' + b"x" * 4096 + b'"}',
    ],
)
def test_invalid_entry_is_reported(table: PoolTable, new_host: MakeHost, entry: bytes) -> None:
    process = "0" * 32
    table.change({}, {keys.LOCK: f"{process} x".encode(), keys.process_key(process): entry})
    with pytest.raises(InUse, match=r"entry of a process .* is invalid"):
        taken_lock(new_host())


def test_entry_with_own_address_does_not_bar_this_process(
    table: PoolTable, new_host: MakeHost
) -> None:
    here = new_host()
    process = "0" * 32
    value = f"{process} x".encode()
    table.change({}, {keys.LOCK: value, keys.process_key(process): here.lease.entry.encoded()})
    lock = taken_lock(here)
    assert lock.claimed == {}
    lock.release()


def test_missing_permission_to_bar_others_is_reported(
    ceph: OneNodeCeph, shared_pool: CephPool, table: PoolTable
) -> None:
    weak = ceph.user("weak", shared_pool.name, osd="profile rbd", mon="allow r")
    process = "0" * 32
    entry = b'{"addresses": ["127.0.0.1:0/1"], "host": "x", "pid": 1}'
    table.change({}, {keys.LOCK: f"{process} x".encode(), keys.process_key(process): entry})
    with RbdHost(weak) as host, pytest.raises(Refused, match="mon 'profile rbd'"):
        host.claim()
