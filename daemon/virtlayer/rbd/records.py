# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a pool, in its table: listed, read, and replaced whole.

A record is two values: a stamp, and the content. A new content has a new random stamp, and each
change of any record gives the list of them another one, in the same change of the table.
"""

import contextlib
import re
import secrets
from collections.abc import Iterable, Iterator

from virtlayer.errors import PoolUnavailable, PoolUnsupported, VirtlayerError
from virtlayer.protocol.records import (
    READ_LIMIT,
    RECORD_LIMIT,
    RECORDS_LIMIT,
    ListedRecord,
    ReadRecord,
    RecordContents,
    RecordList,
    RecordPut,
    Stamp,
)
from virtlayer.rbd import keys
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.pool_lock import PoolLock
from virtlayer.rbd.table import Conditions, PoolTable, Values
from virtlayer.sizes import MIB

_FILE = re.compile(r"[0-9a-f]{64}\.json")
_STAMP = re.compile(rb"([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20})")
_LARGEST = 2**64
_BATCH_BYTES = 4 * MIB
"""Of contents that are read at a time, by their stamps."""
_BATCH = 256
"""Records that are read at a time."""


def list_records(table: PoolTable, since: Stamp | None) -> RecordList:
    """List the records of a pool.

    Args:
        table: The table of the pool.
        since: The stamp of an earlier list.

    Raises:
        PoolUnsupported: There are too many.
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    values = table.get([keys.FORMAT, keys.RECORDS])
    if not table.has_format(values):
        return RecordList(present=False, unchanged=False, stamp=None, records=())
    # The stamp of the list first: a later change has another one.
    stamp = _stamp_in(values, keys.RECORDS)
    if stamp is not None and stamp == since:
        return RecordList(present=True, unchanged=True, stamp=stamp, records=())
    return RecordList(present=True, unchanged=False, stamp=stamp, records=tuple(_listed(table)))


def read_records(
    table: PoolTable, files: Iterable[str]
) -> tuple[RecordContents, tuple[bytes, ...]]:
    """Read records, as many as one answer may hold.

    Args:
        table: The table of the pool.
        files: The names of their files.

    Returns:
        What was found, and the contents.

    Raises:
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    found: list[ReadRecord] = []
    contents: list[bytes] = []
    room = READ_LIMIT
    for batch in _batches(table, tuple(files)):
        values = table.get([key for file in batch for key in keys_of(file)])
        for file in batch:
            record, content = _read(values, file)
            if record.length > room:
                return RecordContents(tuple(found)), tuple(contents)
            found.append(record)
            contents.append(content)
            room -= record.length
    return RecordContents(tuple(found)), tuple(contents)


def put_record(
    table: PoolTable,
    holder: Claim | PoolLock,
    file: str,
    expected: Stamp | None,
    content: bytes | None,
) -> RecordPut:
    """Write or delete a record, if it is the expected one.

    Args:
        table: The table of the pool.
        holder: A claim, or the lock of the pool.
        file: The name of the record's file.
        expected: The stamp of the record that there must be; None if there must be none.
        content: The content; None to delete the record.

    Raises:
        PoolLocked: Another process has the pool's lock for longer than one request waits.
        PoolUnavailable: This process has lost its lease, or the cluster does not answer.
        VirtlayerError: The cluster refuses it.
    """
    key, _ = keys_of(file)
    if expected is None and content is None:
        found = _stamp_in(table.get([key]), key)
        return RecordPut(changed=found is not None, stamp=found)
    stamp = None if content is None else new_stamp(len(content))
    conditions = {key: None if expected is None else encoded_stamp(expected)}
    if holder.change(conditions, changes_of(file, stamp, content)):
        return RecordPut(changed=False, stamp=stamp)
    found = _stamp_in(table.get([key]), key)
    if found == expected:
        raise PoolUnavailable(
            f'Another process changes the record {file} of the pool "{table.pool}". Try again.'
        )
    return RecordPut(changed=True, stamp=found)


def delete_record(lock: PoolLock, file: str) -> None:
    """Delete the record of something that no longer exists, if that is possible."""
    with contextlib.suppress(VirtlayerError):
        lock.change({}, changes_of(file, None, None))


def _listed(table: PoolTable) -> Iterator[ListedRecord]:
    number = 0
    for key, value in table.scan(keys.RECORD):
        file = key.removeprefix(keys.RECORD)
        stamp = _decoded(value)
        # What is not ours is not listed, as in a directory.
        if stamp is None or not _FILE.fullmatch(file):
            continue
        number += 1
        if number > RECORDS_LIMIT:
            raise PoolUnsupported(
                f'The pool "{table.pool}" has more than {RECORDS_LIMIT} records. Use several pools.'
            )
        yield ListedRecord(file, stamp)


def _batches(table: PoolTable, files: tuple[str, ...]) -> Iterator[list[str]]:
    """Divide files so that the contents that are read at a time are not too long."""
    sizes = table.get([keys.RECORD + file for file in files])
    batch: list[str] = []
    length = 0
    for file in files:
        stamp = _stamp_in(sizes, keys.RECORD + file)
        size = 0 if stamp is None else stamp.size
        if batch and (length + size > _BATCH_BYTES or len(batch) == _BATCH):
            yield batch
            batch, length = [], 0
        batch.append(file)
        length += size
    if batch:
        yield batch


def _read(values: Values, file: str) -> tuple[ReadRecord, bytes]:
    stamp_key, content_key = keys_of(file)
    stamp = _stamp_in(values, stamp_key)
    if stamp is None:
        return ReadRecord(None, 0, ""), b""
    # An empty value is none: then the stamp says 0.
    content = values.get(content_key, b"")
    if len(content) != stamp.size:
        problem = f"it has {len(content)} bytes instead of {stamp.size}"
    elif len(content) > RECORD_LIMIT:
        problem = f"it has {len(content)} bytes, more than {RECORD_LIMIT // MIB} MiB"
    else:
        return ReadRecord(stamp, len(content), ""), content
    return ReadRecord(stamp, 0, problem), b""


def changes_of(file: str, stamp: Stamp | None, content: bytes | None) -> Conditions:
    """The changes of the table that write a record, or delete it."""
    stamp_key, content_key = keys_of(file)
    return {
        stamp_key: None if stamp is None else encoded_stamp(stamp),
        content_key: content or None,
        keys.RECORDS: encoded_stamp(new_stamp(0)),
    }


def keys_of(file: str) -> tuple[str, str]:
    """The keys of the stamp and of the content of a record."""
    return keys.RECORD + file, keys.CONTENT + file


def new_stamp(size: int) -> Stamp:
    """A stamp that no other content has."""
    return Stamp(secrets.randbits(63), secrets.randbits(63), size)


def encoded_stamp(stamp: Stamp) -> bytes:
    """A stamp as it is in the table."""
    return f"{stamp.inode} {stamp.changed} {stamp.size}".encode()


def _stamp_in(values: Values, key: str) -> Stamp | None:
    value = values.get(key)
    return None if value is None else _decoded(value)


def _decoded(value: bytes) -> Stamp | None:
    parts = _STAMP.fullmatch(value)
    if parts is None:
        return None
    numbers = [int(part) for part in parts.groups()]
    if any(number > _LARGEST for number in numbers):
        return None
    stamp = Stamp(*numbers)
    return stamp if encoded_stamp(stamp) == value else None
