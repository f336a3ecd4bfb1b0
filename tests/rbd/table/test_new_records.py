# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records that are written together with an image of an RBD pool."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.rbd.table.conftest import MakeHost
from tests.support.rbd_host_process import made_claim, taken_lock
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.rbd import keys
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.new_records import NewRecord, layer_record, volume_record
from virtlayer.rbd.records import put_record, read_records
from virtlayer.rbd.table import PoolTable

FILE = record_file(RecordKind.VOLUME, "web")


@pytest.fixture
def claim(new_host: MakeHost) -> Claim:
    return made_claim(new_host(), ["web"])


def content_of(table: PoolTable) -> bytes | None:
    found, contents = read_records(table, [FILE])
    return None if found.records[0].stamp is None else contents[0]


def test_record_of_layer_is_added_once(table: PoolTable, claim: Claim) -> None:
    with layer_record(claim, FILE, b"one") as first:
        assert first.stamp is not None
        with layer_record(claim, FILE, b"two") as second:
            assert second.stamp is None
            second.is_wanted = False
    assert content_of(table) == b"one"


def test_record_of_volume_replaces_that_of_a_former_one(table: PoolTable, claim: Claim) -> None:
    put_record(table, claim, FILE, None, b"former")
    with volume_record(claim, FILE, b"new") as record:
        assert record.stamp is not None
    assert content_of(table) == b"new"
    assert not list(table.scan(keys.PLACINGS))


@pytest.mark.parametrize("record", [layer_record, volume_record])
def test_record_of_volume_that_was_not_placed_is_removed(
    table: PoolTable,
    claim: Claim,
    record: Callable[[Claim, str, bytes], AbstractContextManager[NewRecord]],
) -> None:
    with record(claim, FILE, b"new") as new:
        new.is_wanted = False
    assert content_of(table) is None
    with pytest.raises(ZeroDivisionError), record(claim, FILE, b"new"):
        raise ZeroDivisionError
    assert content_of(table) is None
    assert not list(table.scan(keys.PLACINGS))


def test_volume_waits_for_the_lock_and_a_layer_does_not(claim: Claim, new_host: MakeHost) -> None:
    lock = taken_lock(new_host())
    with pytest.raises(PoolLocked), volume_record(claim, FILE, b"x"):
        pass
    with layer_record(claim, FILE, b"x") as record:
        assert record.stamp is not None
    lock.release()


def test_two_volumes_of_one_name_are_placed_one_after_the_other(
    claim: Claim, new_host: MakeHost
) -> None:
    other = made_claim(new_host(), ["web"])
    with (
        volume_record(claim, FILE, b"x"),
        pytest.raises(PoolLocked, match="has the placing of"),
        volume_record(other, FILE, b"y"),
    ):
        pass
