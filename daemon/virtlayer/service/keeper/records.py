# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of pools: files that the keeper reads and writes; see ``keeper.answers.records``."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from virtlayer.errors import Internal
from virtlayer.protocol import calls
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import (
    RECORD_LIMIT,
    ListRecords,
    PutRecord,
    ReadRecords,
    RecordContents,
    RecordKind,
    RecordList,
    RecordPut,
    Stamp,
)
from virtlayer.service.keeper.claims import Claim, PoolLock, until_unlocked
from virtlayer.service.keeper.connection import KeeperLink
from virtlayer.service.keeper.sealed import sealed_content

_FILES_AT_A_TIME = 4096
"""The maximum of names in a request; more would make it too long."""


class RecordChanged(Exception):
    """Another process has changed the record; the caller must read it and try again.

    Attributes:
        stamp: The stamp of the present record; None if there is none.
    """

    def __init__(self, stamp: Stamp | None) -> None:
        super().__init__("another process has changed the record")
        self.stamp = stamp


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record as it was read.

    Attributes:
        stamp: The stamp of the file.
        content: The untrusted content of the file; None if it could not be read.
        problem: The reason why it could not be read, as a part of a sentence; "" if it could.
    """

    stamp: Stamp
    content: bytes | None
    problem: str


class Records:
    """The records of every pool.

    Args:
        link: The link to the keeper.
    """

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    async def list(
        self, pool: Pool, since: Stamp | None = None, known: str | None = None
    ) -> RecordList:
        """List the files of a pool's records.

        Args:
            pool: The pool.
            since: The stamp of an earlier list. If no file was added, removed or replaced since
                then, the reply says so and lists nothing. A record that was edited in place is
                detected only without this stamp.
            known: The digest of a list (``protocol.records.list_digest``). If the pool has the
                same list, the reply says so and lists nothing.

        Raises:
            PoolUnsupported: ``.virtlayer`` in the pool is not a directory for records.
            VirtlayerError: The pool cannot be used.
        """
        return await self._link.ask(calls.LIST_RECORDS, ListRecords(pool.uuid, since, known))

    async def read(self, pool: Pool, files: Iterable[str]) -> Mapping[str, RecordFile]:
        """Read records.

        Args:
            pool: The pool.
            files: The names of their files.

        Returns:
            The records by file name; files that no longer exist are omitted.

        Raises:
            VirtlayerError: The pool cannot be used.
        """
        found: dict[str, RecordFile] = {}
        rest = list(dict.fromkeys(files))
        while rest:
            batch = tuple(rest[:_FILES_AT_A_TIME])
            connection = await self._link.connection()
            request = ReadRecords(pool.uuid, batch)
            read, descriptors = await connection.ask_with(calls.READ_RECORDS, request, ())
            with contextlib.ExitStack() as received:
                for descriptor in descriptors:
                    received.callback(os.close, descriptor)
                if not read.records or len(descriptors) != 1:
                    raise Internal("Invalid reply of virtlayer-keeper to read-records.")
                found |= _records(batch, read, descriptors[0])
            del rest[: len(read.records)]
        return found

    async def put(
        self,
        pool: Pool,
        kind: RecordKind,
        name: str,
        content: bytes | None,
        *,
        expected: Stamp | None,
        holder: Claim | PoolLock,
        durable: bool = True,
    ) -> Stamp | None:
        """Write or delete a record.

        Args:
            pool: The pool.
            kind: The kind of the object that the record describes.
            name: The name of the object.
            content: The new content; None to delete the record.
            expected: The stamp that the present record must have; None if there must be none.
            holder: A claim or the lock of the pool.
            durable: Whether the change must be on disk when this returns. If not, a power failure
                may bring back the present record; either is whole.

        Returns:
            The stamp of the new record; None if there is none.

        Raises:
            RecordChanged: The present record is not the expected one.
            InUse: Another process has the pool's lock for too long.
            NoSpace: The pool is full.
            VirtlayerError: The pool cannot be used.
        """
        request = PutRecord(pool.uuid, kind, name, expected, holder.number, durable)

        async def put() -> RecordPut:
            with sealed(content) as descriptors:
                done, _ = await holder.connection.ask_with(calls.PUT_RECORD, request, descriptors)
            return done

        done = await until_unlocked(put)
        if done.changed:
            raise RecordChanged(done.stamp)
        return done.stamp


@contextlib.contextmanager
def sealed(content: bytes | None) -> Iterator[tuple[int, ...]]:
    """Provide content for the keeper in a sealed memory file; no descriptor for None.

    Raises:
        Internal: The content exceeds the size limit of records.
    """
    if content is None:
        yield ()
        return
    if len(content) > RECORD_LIMIT:
        raise Internal(f"A record of {len(content)} bytes is too large.")
    descriptor = sealed_content(content)
    try:
        yield (descriptor,)
    finally:
        os.close(descriptor)


def _records(
    files: Iterable[str], read: RecordContents, descriptor: int
) -> Iterator[tuple[str, RecordFile]]:
    position = 0
    for file, record in zip(files, read.records, strict=False):
        content = None if record.problem else os.pread(descriptor, record.length, position)
        position += record.length
        if record.stamp is not None:
            yield file, RecordFile(record.stamp, content, record.problem)
