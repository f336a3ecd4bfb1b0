# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records in the table of an RBD pool."""

import os
import time

import pytest

from tests.rbd.table.conftest import MakeHost
from tests.support.rbd_host_process import made_claim, taken_lock
from virtlayer.errors import PoolUnsupported
from virtlayer.protocol.records import RECORD_LIMIT, ReadRecord, RecordKind, Stamp, record_file
from virtlayer.rbd import keys
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.records import (
    delete_record,
    list_records,
    put_record,
    read_records,
)
from virtlayer.rbd.table import PoolTable

FILE = record_file(RecordKind.VOLUME, "web")
OTHER = record_file(RecordKind.VOLUME, "mail")


@pytest.fixture
def claim(new_host: MakeHost) -> Claim:
    return made_claim(new_host(), ["web"])


def put(claim: Claim, file: str, expected: Stamp | None, content: bytes | None) -> Stamp | None:
    done = put_record(claim.lease.table, claim, file, expected, content)
    assert not done.changed
    return done.stamp


def content_of(table: PoolTable, file: str) -> bytes | None:
    found, contents = read_records(table, [file])
    return None if found.records[0].stamp is None else contents[0]


def test_pool_without_records_is_listed(table: PoolTable) -> None:
    listed = list_records(table, None)
    assert not listed.present
    assert listed.records == ()
    assert read_records(table, [FILE])[0].records == (ReadRecord(None, 0, ""),)


def test_record_is_written_replaced_and_deleted(table: PoolTable, claim: Claim) -> None:
    first = put(claim, FILE, None, b"one")
    second = put(claim, FILE, first, b"another")
    assert second != first
    listed = list_records(table, None)
    assert listed.present
    assert [(one.file, one.stamp) for one in listed.records] == [(FILE, second)]
    found, contents = read_records(table, [OTHER, FILE])
    assert found.records == (ReadRecord(None, 0, ""), ReadRecord(second, 7, ""))
    assert contents == (b"", b"another")
    assert put(claim, FILE, second, None) is None
    assert list_records(table, None).records == ()


def test_record_that_another_process_changed_stays(table: PoolTable, claim: Claim) -> None:
    first = put(claim, FILE, None, b"one")
    second = put(claim, FILE, first, b"two")
    for expected in (None, first):
        for content in (b"three", None):
            done = put_record(table, claim, FILE, expected, content)
            assert (done.changed, done.stamp) == (True, second)
    assert not put_record(table, claim, OTHER, None, None).changed
    assert put_record(table, claim, OTHER, second, b"three").changed
    assert content_of(table, FILE) == b"two"


def test_unchanged_records_are_not_listed_again(table: PoolTable, claim: Claim) -> None:
    stamp = put(claim, FILE, None, b"one")
    before = list_records(table, None)
    claim.add(["more"])
    again = list_records(table, before.stamp)
    assert again.unchanged
    assert again.records == ()
    put(claim, FILE, stamp, b"two")
    changed = list_records(table, before.stamp)
    assert not changed.unchanged
    assert changed.stamp != before.stamp


def test_empty_and_largest_records_are_kept(table: PoolTable, claim: Claim) -> None:
    put(claim, FILE, None, b"")
    largest = os.urandom(RECORD_LIMIT)
    put(claim, OTHER, None, largest)
    found, contents = read_records(table, [FILE, OTHER, OTHER])
    # Two of them do not fit into one answer.
    assert [one.length for one in found.records] == [0, RECORD_LIMIT]
    assert contents == (b"", largest)


def test_two_thousand_records_are_listed_and_read(table: PoolTable, claim: Claim) -> None:
    files = [record_file(RecordKind.LAYER, str(number)) for number in range(2000)]
    content = b"x" * 2000
    for start in range(0, len(files), 500):
        values = {}
        for file in files[start : start + 500]:
            values[keys.RECORD + file] = b"1 1 2000"
            values[keys.CONTENT + file] = content
        assert claim.lease.change({}, values)
    began = time.monotonic()
    listed = list_records(table, None)
    assert sorted(one.file for one in listed.records) == sorted(files)
    listing = time.monotonic() - began
    _, contents = read_records(table, files)
    assert contents == (content,) * 2000
    # Measured: 0.01 s and 0.1 s.
    assert listing < 5
    assert time.monotonic() - began < 10


def test_damaged_records_are_reported(table: PoolTable, claim: Claim) -> None:
    stamp = put(claim, FILE, None, b"one")
    table.change({}, {keys.CONTENT + FILE: b"longer"})
    [record] = read_records(table, [FILE])[0].records
    assert record == ReadRecord(stamp, 0, "it has 6 bytes instead of 3")
    for invalid in (b"1 1", b"01 1 3", b"1 1 99999999999999999999", b"\xff", b"1 1 3\n"):
        table.change({}, {keys.RECORD + FILE: invalid, keys.RECORD + "x": b"1 1 1"})
        assert list_records(table, None).records == ()
        assert read_records(table, [FILE])[0].records == (ReadRecord(None, 0, ""),)


def test_table_of_newer_version_is_refused(table: PoolTable, new_host: MakeHost) -> None:
    table.change({}, {keys.FORMAT: b"2"})
    with pytest.raises(PoolUnsupported, match="newer version"):
        list_records(table, None)
    with pytest.raises(PoolUnsupported, match="newer version"):
        made_claim(new_host(), [])


def test_lock_deletes_records(table: PoolTable, claim: Claim, new_host: MakeHost) -> None:
    put(claim, FILE, None, b"one")
    lock = taken_lock(new_host())
    delete_record(lock, FILE)
    assert content_of(table, FILE) is None
    assert not put_record(table, lock, FILE, None, b"two").changed
    lock.release()
