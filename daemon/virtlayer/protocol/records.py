# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records: files in which a pool describes its own content, as service and keeper exchange them.

A record is a file of ``POOL/.virtlayer``. The service composes and parses what is in it; the keeper
knows only what it is about, which gives the file its name, and how large it may be.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.checks import (
    Number,
    RecordFile,
    RecordName,
    Sha256,
    StampNumber,
    Uuid,
)
from virtlayer.sizes import MIB

RECORD_LIMIT = 24 * MIB
"""Bytes of a record: twice the longest config, because the quotes in it are escaped, and more."""
RECORDS_LIMIT = 100_000
"""Records of a pool."""
READ_LIMIT = 32 * MIB
"""Bytes of the records that one request reads."""


class RecordKind(StrEnum):
    """What a record is about."""

    IMAGE = "image"
    LAYER = "layer"
    VOLUME = "volume"
    DIRECTORY = "directory"
    DISK = "disk"
    BOOT = "boot"


VOLUME_KINDS = (RecordKind.VOLUME, RecordKind.DIRECTORY, RecordKind.DISK)
"""The kinds that are about one volume each, of the same name."""


def record_file(kind: RecordKind, name: str) -> str:
    """The name of the file of a record: a digest, which works with any name of an image."""
    return f"{hashlib.sha256(f'{kind} {name}'.encode()).hexdigest()}.json"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What identifies one content of a file.

    Attributes:
        inode: Each content has a file of its own.
        changed: When the file changed last (ctime), in nanoseconds.
        size: In bytes.
    """

    inode: StampNumber
    changed: StampNumber
    size: StampNumber

    def __str__(self) -> str:
        """The three numbers."""
        return f"{self.inode} {self.changed} {self.size}"


def list_digest(records: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a list of records: 64 hexadecimal digits.

    Args:
        records: The names of the files, and their stamps as text, in any order.
    """
    lines = "\n".join(sorted(f"{file} {stamp}" for file, stamp in records))
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ListRecords:
    """The records of a pool.

    Attributes:
        pool: The pool.
        since: The stamp that an earlier list had. If no record was added, deleted or replaced since
            then, they are not listed. A record that is edited in place may not be noticed.
        known: The digest of the list that the service has; the same list is not repeated.
    """

    pool: Uuid
    since: Stamp | None
    known: Sha256 | None


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """The file of a record, and its stamp."""

    file: RecordFile
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class RecordList:
    """The records of a pool.

    Attributes:
        present: Whether the pool has ``.virtlayer``.
        unchanged: Whether they are those of the list with the stamp or the digest of the request;
            then there are none here.
        stamp: For the next request; None if the last change was so recent that the next one could
            have the same stamp: the next list has to be a whole one.
        records: The records.
    """

    present: bool
    unchanged: bool
    stamp: Stamp | None
    records: tuple[ListedRecord, ...]


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Records to be read."""

    pool: Uuid
    files: tuple[RecordFile, ...]


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """The result of reading a record.

    Attributes:
        stamp: Of the file; None if it does not exist.
        length: Bytes of its content, which follows those before it in the memory file.
        problem: Why it was not read, as a part of a sentence; "" if it was.
    """

    stamp: Stamp | None
    length: Number
    problem: str


@dataclass(frozen=True, slots=True)
class RecordContents:
    """The first ones of the records that were asked for, as many as one answer may hold.

    Their contents come as one sealed memory file.
    """

    records: tuple[ReadRecord, ...]


@dataclass(frozen=True, slots=True)
class PutRecord:
    """A record to be written or deleted; its content comes as a sealed memory file.

    Attributes:
        pool: The pool.
        kind: What it is about.
        name: The name of that.
        expected: The stamp of the record that there must be; None if there must be none.
        holder: The number of a claim or of a lock of that pool.
        durable: Whether the change must survive a power failure from the reply on. If not, the
            record from before may come back; either is whole.
    """

    pool: Uuid
    kind: RecordKind
    name: RecordName
    expected: Stamp | None
    holder: Number
    durable: bool


@dataclass(frozen=True, slots=True)
class RecordPut:
    """The result of writing or deleting a record.

    Attributes:
        changed: Whether another process had changed it: nothing was done.
        stamp: The present record; None if there is none.
    """

    changed: bool
    stamp: Stamp | None
