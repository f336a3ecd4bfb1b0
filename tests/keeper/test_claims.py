# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims and locks of a pool: all keepers respect them, and they end with their holders."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, delete, directory_of, write
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.raw_keeper import RawKeeper, Reply, raw_keeper
from virtlayer.keeper.answers.holdings import CLAIMS_LIMIT
from virtlayer.keeper.kinds.directory.claims import NAMES_LIMIT
from virtlayer.keeper.kinds.directory.locks import unlock

_ONE, _TWO = f"layer-{'1' * 64}.qcow2", f"layer-{'2' * 64}.qcow2"
_KEY, _OTHER_KEY = "a" * 64, "b" * 64
_OF_A_POOL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("claim", {"claim": None, "names": [_ONE], "build": []}),
    ("lock", {}),
    ("list-records", {"since": None, "known": None}),
    ("read-records", {"files": [f"{'0' * 64}.json"]}),
)
_LOCKER = """
import os, sys
from virtlayer.keeper.kinds.directory.locks import try_lock
file = os.open(sys.argv[1], os.O_RDWR)
print(try_lock(file, 0, 1), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(host: LibvirtHost, pool: TestPool) -> Iterator[RawKeeper]:
    """The keeper of another service, as it could be of another host."""
    with raw_keeper(host.uri) as keeper:
        keeper.get("find-pool", name=pool.name)
        yield keeper


def claim(
    keeper: RawKeeper,
    pool: TestPool,
    *names: str,
    number: int | None = None,
    build: tuple[str, ...] = (),
) -> Reply:
    """Ask for a claim."""
    return keeper.ask("claim", pool=pool.uuid, claim=number, names=names, build=build)


def claimed(keeper: RawKeeper, pool: TestPool) -> set[str]:
    """The claims in the pool, as a deletion reads them."""
    locked = keeper.get("lock", pool=pool.uuid)
    keeper.get("release", number=locked["lock"], failed=False)
    return set(locked["claimed"])


@contextmanager
def kept(reply: Reply) -> Iterator[int]:
    """The number of a claim whose descriptor the service keeps."""
    [descriptor] = reply.descriptors
    try:
        yield reply.done["claim"]
    finally:
        os.close(descriptor)


def test_every_keeper_sees_all_claims(keeper: RawKeeper, other: RawKeeper, pool: TestPool) -> None:
    with kept(claim(keeper, pool, _ONE, "guest")) as number:
        assert claimed(keeper, pool) == claimed(other, pool) == {_ONE, "guest"}
        assert claim(keeper, pool, _TWO, number=number).descriptors == ()
        with kept(claim(other, pool, _TWO)) as second:
            assert claimed(keeper, pool) == {_ONE, _TWO, "guest"}
            keeper.get("release", number=number, failed=False)
            assert claimed(keeper, pool) == claimed(other, pool) == {_TWO}
            other.get("release", number=second, failed=False)
    assert claimed(keeper, pool) == set()
    own = pool.path / ".virtlayer"
    assert {path.name for path in own.iterdir()} == {"lock", "claims"}
    assert list((own / "claims").iterdir()) == []


def test_new_files_in_a_pool_are_private_to_the_keepers_user(
    keeper: RawKeeper, pool: TestPool
) -> None:
    keeper.get("claim", pool=pool.uuid, claim=None, names=[_ONE], build=[])
    own = pool.path / ".virtlayer"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (own, *own.iterdir())}
    assert modes == {".virtlayer": 0o711, "lock": 0o600, "claims": 0o700}
    assert [path.stat().st_mode & 0o777 for path in (own / "claims").iterdir()] == [0o600]


def test_a_claim_comes_with_a_staging_directory(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    request: dict[str, Any] = {
        "pool_name": pool.name,
        "names": [_ONE, "guest"],
        "purpose": "volume",
    }
    with kept(keeper.ask("begin", **request)) as number:
        assert claimed(other, pool) == {_ONE, "guest"}
        assert directory_of(pool).is_dir()
        keeper.get("release", number=number, failed=False)
    assert claimed(other, pool) == set()
    assert list((pool.path / ".virtlayer" / "staging").iterdir()) == []


def test_no_claim_stays_without_its_staging_directory(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    other.get("release", number=other.get("lock", pool=pool.uuid)["lock"], failed=False)
    (pool.path / ".virtlayer" / "staging").write_text("in the way")
    request: dict[str, Any] = {"pool_name": pool.name, "names": [_ONE], "purpose": "volume"}
    reply = keeper.ask("begin", **request)
    assert (reply.error, reply.descriptors) == ("PoolUnsupported", ())
    assert claimed(other, pool) == set()


def test_a_claim_waits_for_a_lock_and_is_not_forgotten(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    request = {"pool": pool.uuid, "claim": None, "names": [_ONE], "build": []}
    other.send({"id": 100, "ask": "claim", "with": request})
    # Each of these answers would come after the claim's, if that did not have to wait.
    for _ in range(3):
        other.get("list-records", pool=pool.uuid, since=None, known=None)
    keeper.get("release", number=lock, failed=False)
    reply = json.loads(other.connection.recv(65536))
    assert reply["id"] == 100
    assert "done" in reply


def test_a_lock_that_another_process_has_is_waited_for_a_while(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    for reply in (claim(other, pool, _ONE), other.ask("lock", pool=pool.uuid)):
        assert reply.error == "PoolLocked"
        assert str(pool.path / ".virtlayer" / "lock") in reply.text
    # Keepers other than this one cannot end it.
    assert (
        "No claim, lock or staging directory"
        in other.ask("release", number=lock, failed=False).text
    )
    # Requests that need no lock still work.
    assert other.ask("list-records", pool=pool.uuid, since=None, known=None).error == ""
    keeper.get("release", number=lock, failed=False)
    assert claimed(other, pool) == set()


def test_a_process_that_holds_the_lock_for_ever_is_reported(
    keeper: RawKeeper, pool: TestPool
) -> None:
    """Any process of the keeper's user can, on any host."""
    assert claimed(keeper, pool) == set()
    argv = [sys.executable, "-c", _LOCKER, str(pool.path / ".virtlayer" / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        reply = claim(keeper, pool, _ONE)
        assert (reply.error, "lslocks" in reply.text) == ("PoolLocked", True)
        holder.kill()
    with kept(claim(keeper, pool, _ONE)):
        assert claimed(keeper, pool) == {_ONE}


# ---- deletions ----


def test_claimed_volumes_are_not_deleted(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    one, two = pool.layer("1"), pool.layer("2")
    keeper.get("find-volumes", pool=pool.uuid, names=None, refresh=True)
    with kept(claim(other, pool, one)) as number:
        done = delete(keeper, pool, two, one)
        assert (done["names"], done["error"]) == ([two], "InUse")
        assert "used by a running job" in done["text"]
        other.get("release", number=number, failed=False)
    assert delete(keeper, pool, one)["names"] == [one]


def test_a_service_cannot_end_the_lock_of_a_pool_before_a_deletion(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    """Otherwise, another host could claim the layer before it is deleted."""
    lock = keeper.ask("lock", pool=pool.uuid)
    for descriptor in lock.descriptors:
        unlock(descriptor)
        os.close(descriptor)
    assert claim(other, pool, pool.layer("1")).error == "PoolLocked"
    keeper.get("release", number=lock.done["lock"], failed=False)


def test_a_deletion_needs_the_lock_of_its_pool(keeper: RawKeeper, pool: TestPool) -> None:
    layer = pool.layer("1")
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    keeper.get("release", number=lock, failed=False)
    claimed = claim_of(keeper, pool)
    for number in (lock, claimed, 7):
        reply = keeper.ask("delete", pool=pool.uuid, lock=number, names=[layer])
        assert "No lock of that pool" in reply.text
    assert (pool.path / layer).exists()
    assert delete(keeper, pool, layer)["names"] == [layer]


def test_a_lock_is_not_released_during_a_deletion(keeper: RawKeeper, pool: TestPool) -> None:
    """Otherwise another host could claim what is deleted a moment later."""
    layers = [pool.layer(digit) for digit in "123456"]
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    for message, more in (
        ("delete", {"pool": pool.uuid, "lock": lock, "names": layers}),
        ("release", {"number": lock, "failed": False}),
    ):
        keeper.send({"id": len(message), "ask": message, "with": more})
    answered = [json.loads(keeper.connection.recv(65536))["id"] for _ in range(2)]
    assert answered == [len("delete"), len("release")]
    assert names_in(pool.path) == []


def test_nothing_is_placed_for_a_claim_that_another_host_has_swept(
    keeper: RawKeeper, pool: TestPool
) -> None:
    """Simulate a host that lost the connection to the pool's server for too long."""
    number = claim_of(keeper, pool, _ONE)
    staging = keeper.get("stage", pool=pool.uuid, claim=number, purpose="layers")["staging"]
    write(pool, "v1")
    keeper.get("flush", staging=staging, file="v1")
    [file] = (pool.path / ".virtlayer" / "claims").iterdir()
    file.unlink()
    reply = keeper.ask("place", staging=staging, file="v1", name=_ONE, build=None)
    assert (reply.error, "was removed" in reply.text) == ("PoolUnavailable", True)
    assert names_in(pool.path) == []
    keeper.get("release", number=number, failed=True)


# ---- layers that are built ----


def test_a_layer_is_built_by_one_claim_at_a_time(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    with kept(claim(keeper, pool, build=(_KEY,))) as first, kept(claim(other, pool)) as second:
        reply = claim(other, pool, number=second, build=(_KEY, _OTHER_KEY))
        assert reply.done == {"claim": second, "busy": [_KEY]}
        assert claim(keeper, pool, number=first, build=(_KEY, _OTHER_KEY)).done["busy"] == [
            _OTHER_KEY
        ]
        # Neither keeps anybody from claiming or deleting.
        assert claimed(keeper, pool) == set()
        keeper.get("release", number=first, failed=False)
        assert claim(other, pool, number=second, build=(_KEY,)).done["busy"] == []


def test_a_layer_that_is_placed_is_no_longer_built(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    with kept(claim(keeper, pool, _ONE, build=(_KEY, _OTHER_KEY))) as number:
        staging = keeper.get("stage", pool=pool.uuid, claim=number, purpose="layers")["staging"]
        write(pool, "v1")
        keeper.get("flush", staging=staging, file="v1")
        keeper.get("place", staging=staging, file="v1", name=_ONE, build=_KEY)
        reply = claim(other, pool, build=(_KEY, _OTHER_KEY))
        assert reply.done["busy"] == [_OTHER_KEY]
        os.close(reply.descriptors[0])
        keeper.get("release", number=number, failed=False)


def test_a_killed_keeper_builds_nothing_and_its_claim_lasts(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    with raw_keeper(host.uri) as mortal:
        mortal.get("find-pool", name=pool.name)
        reply = claim(mortal, pool, _ONE, build=(_KEY,))
        mortal.process.send_signal(signal.SIGKILL)
        mortal.process.wait()
    with kept(reply):
        assert claimed(keeper, pool) == {_ONE}
        with kept(claim(keeper, pool, build=(_KEY,))) as number:
            assert claim(keeper, pool, number=number, build=(_KEY,)).done["busy"] == []
            keeper.get("release", number=number, failed=False)
    assert claimed(keeper, pool) == set()
    assert keeper.get("sweep", pool=pool.uuid) == {"number": 1}


def test_a_lock_ends_with_its_keeper_which_deletes_under_it(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    with raw_keeper(host.uri) as mortal:
        mortal.get("find-pool", name=pool.name)
        assert mortal.ask("lock", pool=pool.uuid).descriptors == ()
        assert keeper.ask("lock", pool=pool.uuid).error == "PoolLocked"
        mortal.process.send_signal(signal.SIGKILL)
        mortal.process.wait()
        assert claimed(keeper, pool) == set()


def test_claims_end_with_the_connection(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    with raw_keeper(host.uri) as mortal:
        mortal.get("find-pool", name=pool.name)
        mortal.get("claim", pool=pool.uuid, claim=None, names=[_ONE], build=[_KEY])
        mortal.get("lock", pool=pool.uuid)
        mortal.connection.close()
        assert mortal.ended()[0] == 0
    assert claimed(keeper, pool) == set()
    assert list((pool.path / ".virtlayer" / "claims").iterdir()) == []


# ---- what a compromised service sends ----


def test_claim_numbers_of_other_pools_are_refused(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool
) -> None:
    elsewhere = host.start_pool(f"{pool.name}-second")
    second = keeper.get("find-pool", name=f"{pool.name}-second")["uuid"]
    with kept(claim(keeper, pool, _ONE)) as number:
        for there in (7, number):
            reply = keeper.ask("claim", pool=second, claim=there, names=[_TWO], build=[])
            assert "No claim in that pool" in reply.text
            content = {
                "kind": "image",
                "name": "a",
                "expected": None,
                "holder": there,
                "durable": True,
            }
            reply = keeper.ask("put-record", (), pool=second, **content)
            assert "No claim in that pool" in reply.text
        assert (
            "No claim, lock or staging directory 7"
            in keeper.ask("release", number=7, failed=False).text
        )
        keeper.get("release", number=number, failed=False)
        assert (
            "No claim, lock or staging directory"
            in keeper.ask("release", number=number, failed=False).text
        )
    assert list(elsewhere.iterdir()) == []
    host.stop_pool(f"{pool.name}-second")


def test_claims_are_counted(keeper: RawKeeper, pool: TestPool) -> None:
    numbers = [
        keeper.get("claim", pool=pool.uuid, claim=None, names=[], build=[])["claim"]
        for _ in range(CLAIMS_LIMIT)
    ]
    for reply in (claim(keeper, pool), keeper.ask("lock", pool=pool.uuid)):
        assert (reply.error, f"{CLAIMS_LIMIT} claims" in reply.text) == ("Internal", True)
    for number in numbers:
        keeper.get("release", number=number, failed=False)
    assert claimed(keeper, pool) == set()


def test_the_names_of_a_claim_are_counted(keeper: RawKeeper, pool: TestPool) -> None:
    with kept(claim(keeper, pool, "x")) as number:
        for first in range(0, NAMES_LIMIT - 4096, 4096):
            names = [f"v{n}" for n in range(first, first + 4096)]
            assert claim(keeper, pool, *names, number=number).error == ""
        reply = claim(keeper, pool, *(f"w{n}" for n in range(4096)), number=number)
        assert (reply.error, "at most" in reply.text) == ("Internal", True)
        # The same ones again are no further ones.
        assert claim(keeper, pool, "x", number=number).error == ""
        assert len(claimed(keeper, pool)) == NAMES_LIMIT - 4096 + 1


def test_a_claim_is_of_an_active_pool(host: LibvirtHost, keeper: RawKeeper, pool: TestPool) -> None:
    host.virsh("pool-destroy", pool.name)
    for message, more in _OF_A_POOL:
        assert keeper.ask(message, pool=pool.uuid, **more).error == "PoolInactive", message
    assert list(pool.path.iterdir()) == []
    host.virsh("pool-start", pool.name)


# ---- what the pool's owner has put there ----


@pytest.mark.parametrize(
    "kind", ["link", "file", "fifo", pytest.param("foreign directory", marks=pytest.mark.root)]
)
def test_something_else_in_the_place_of_the_directory_is_refused(
    keeper: RawKeeper, pool: TestPool, kind: str
) -> None:
    own = pool.path / ".virtlayer"
    match kind:
        case "link":
            own.symlink_to("/etc")
        case "file":
            own.touch()
        case "fifo":
            os.mkfifo(own)
        case "foreign directory":
            own.mkdir()
            os.chown(own, 1, 1)
    before = own.lstat()
    for message, more in _OF_A_POOL:
        reply = keeper.ask(message, pool=pool.uuid, **more)
        assert reply.error == "PoolUnsupported", message
        assert str(own) in reply.text
    assert (own.lstat().st_mode, own.lstat().st_uid) == (before.st_mode, before.st_uid)
    if not own.is_dir() or own.is_symlink():
        own.unlink()


def test_files_that_are_no_claims_change_nothing(keeper: RawKeeper, pool: TestPool) -> None:
    assert claimed(keeper, pool) == set()
    claims = pool.path / ".virtlayer" / "claims"
    (claims / "dead").write_text(f"{_ONE}\n")
    (claims / "link").symlink_to("/etc/passwd")
    os.mkfifo(claims / "fifo")
    (claims / "directory").mkdir()
    assert claimed(keeper, pool) == set()
    # A sweep removes what is one, and leaves what it did not make.
    assert keeper.get("sweep", pool=pool.uuid) == {"number": 1}
    assert sorted(path.name for path in claims.iterdir()) == ["directory", "fifo", "link"]
    shutil.rmtree(claims)


def test_a_claim_that_cannot_be_read_keeps_everything(keeper: RawKeeper, pool: TestPool) -> None:
    """The needs of its job are unknown, so nothing may be deleted."""
    with kept(claim(keeper, pool, _ONE)) as number:
        [file] = (pool.path / ".virtlayer" / "claims").iterdir()
        for content in (b"\xff\n", bytes(9 * 2**20)):
            file.write_bytes(content)
            reply = keeper.ask("lock", pool=pool.uuid)
            assert (reply.error, str(file) in reply.text) == ("InUse", True)
        # A part of a name is of a job that does not know that it has it.
        file.write_text(f"{_ONE}\nlayer-")
        assert claimed(keeper, pool) == {_ONE}
        keeper.get("release", number=number, failed=False)


def test_a_lock_file_that_is_removed_is_not_locked(
    keeper: RawKeeper, other: RawKeeper, pool: TestPool
) -> None:
    lock = keeper.get("lock", pool=pool.uuid)["lock"]
    (pool.path / ".virtlayer" / "lock").unlink()
    with kept(claim(other, pool, _ONE)):
        assert claimed(other, pool) == {_ONE}
    keeper.get("release", number=lock, failed=False)
