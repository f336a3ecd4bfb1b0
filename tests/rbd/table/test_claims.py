# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims and the lock of an RBD pool, of processes that all run."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rbd.table.conftest import MakeHost
from tests.support.rbd_host_process import made_claim, taken_lock
from virtlayer.errors import Internal, InUse
from virtlayer.protocol.claims import PoolLocked
from virtlayer.rbd import keys
from virtlayer.rbd.claims import BUILDS_LIMIT, NAMES_LIMIT, Claim
from virtlayer.rbd.pool_lock import PoolLock
from virtlayer.rbd.records import put_record
from virtlayer.rbd.table import PoolTable

KEYS = ["a" * 64, "b" * 64, "c" * 64]
FILE = "0" * 64 + ".json"


def test_lock_knows_claims_of_all_hosts(new_host: MakeHost) -> None:
    here, there = new_host(), new_host()
    one, two, empty = made_claim(here, ["x"]), made_claim(there, ["x", "y"]), made_claim(there, [])
    one.add(["z", "x"])
    lock = taken_lock(here)
    assert {claim: sorted(names) for claim, names in lock.claimed.items()} == {
        one.name: ["x", "z"],
        two.name: ["x", "y"],
        empty.name: [],
    }
    lock.release()
    one.end()
    two.end()
    lock = taken_lock(there)
    assert lock.claimed == {empty.name: ()}
    lock.release()


def test_lock_excludes_claims_and_other_locks(table: PoolTable, new_host: MakeHost) -> None:
    here, there = new_host(), new_host()
    claim = made_claim(there, ["x"])
    lock = taken_lock(here)
    for host in (here, there):
        with pytest.raises(PoolLocked, match=r"Process [0-9]+ on host host1 has the lock of the"):
            taken_lock(host)
        with pytest.raises(PoolLocked):
            made_claim(host, ["y"])
    with pytest.raises(PoolLocked):
        claim.add(["y"])
    with pytest.raises(PoolLocked):
        put_record(table, claim, FILE, None, b"x")
    # Claimed before, so it needs nothing new; and layers can still be built.
    claim.add(["x"])
    assert claim.try_build(KEYS) == frozenset()
    lock.release()
    claim.add(["y"])
    lock = taken_lock(there)
    assert sorted(lock.claimed[claim.name]) == ["x", "y"]
    lock.release()


def test_released_lock_changes_nothing(table: PoolTable, new_host: MakeHost) -> None:
    old = taken_lock(new_host())
    old.release()
    lock = taken_lock(new_host())
    assert not old.change({}, {keys.RECORDS: b"x"})
    old.release()
    assert lock.change({}, {keys.RECORDS: b"y"})
    assert table.get([keys.RECORDS]) == {keys.RECORDS: b"y"}
    lock.release()


def test_lock_that_is_released_while_it_is_taken_is_free(new_host: MakeHost) -> None:
    here, there = new_host(), new_host()
    held, late, never = taken_lock(there), PoolLock(here), PoolLock(here)
    with ThreadPoolExecutor() as threads:
        taking = threads.submit(late.take)
        releasing = threads.submit(late.release)
        held.release()
        releasing.result()
        with contextlib.suppress(PoolLocked, Internal):
            taking.result()
    taken_lock(there).release()
    never.release()
    with pytest.raises(Internal, match="released"):
        never.take()
    claim = Claim(here)
    claim.end()
    with pytest.raises(Internal, match="ended"):
        claim.make([])
    taken_lock(there).release()


def test_layer_is_built_by_one_claim(table: PoolTable, new_host: MakeHost) -> None:
    here, there = new_host(), new_host()
    one, other, third = made_claim(here, []), made_claim(here, []), made_claim(there, [])
    assert one.try_build(KEYS[:2]) == frozenset()
    assert one.try_build(KEYS[:1]) == frozenset()
    assert other.try_build(KEYS[1:]) == {KEYS[1]}
    assert third.try_build(KEYS) == {*KEYS}
    third.end_build(KEYS[0])
    assert third.try_build(KEYS) == {*KEYS}
    one.end_build(KEYS[0])
    assert third.try_build(KEYS) == {*KEYS[1:]}
    one.end()
    assert third.try_build(KEYS) == {KEYS[2]}
    other.end_builds()
    assert third.try_build(KEYS) == frozenset()
    third.end()
    assert not list(table.scan(keys.BUILDS))


def test_ended_claim_is_refused(new_host: MakeHost) -> None:
    claim = made_claim(new_host(), [])
    claim.end()
    claim.end()
    with pytest.raises(Internal, match="The claim has ended"):
        claim.add(["x"])
    with pytest.raises(Internal, match="The claim has ended"):
        claim.try_build(KEYS)


def test_claims_have_limits(new_host: MakeHost) -> None:
    claim = made_claim(new_host(), (f"v{number}" for number in range(NAMES_LIMIT)))
    with pytest.raises(Internal, match="at most 16384 volumes"):
        claim.add(["another"])
    assert not claim.try_build(f"{number:064x}" for number in range(BUILDS_LIMIT))
    with pytest.raises(Internal, match="at most 1024 layers"):
        claim.try_build(KEYS)
    host = new_host()
    lock = taken_lock(host)
    assert len(lock.claimed[claim.name]) == NAMES_LIMIT
    lock.release()
    claim.end()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"claim {'0' * 32} {'1' * 32} x", b"name\n"),
        (f"claim {'0' * 32} {'1' * 32} 1", b"\xff\n"),
        ("claim x", b"name\n"),
    ],
)
def test_invalid_claim_prevents_deletions(
    table: PoolTable, new_host: MakeHost, key: str, value: bytes
) -> None:
    host = new_host()
    table.change({}, {key: value})
    with pytest.raises(InUse, match=f"rmomapkey pool '{key}'"):
        taken_lock(host)
    table.change({}, {key: None})
    taken_lock(host).release()


def test_lock_of_unknown_process_is_reported(table: PoolTable, new_host: MakeHost) -> None:
    table.change({}, {keys.LOCK: b"nobody"})
    with pytest.raises(InUse, match="rmomapkey pool 'lock'"):
        made_claim(new_host(), [])


def test_process_that_ends_leaves_nothing(table: PoolTable, new_host: MakeHost) -> None:
    host = new_host()
    made_claim(host, ["x"]).end()
    host.lease.end()
    assert [key for key, _ in table.scan("")] == [keys.FORMAT]
    assert host.lease.locks.processes() == set()
