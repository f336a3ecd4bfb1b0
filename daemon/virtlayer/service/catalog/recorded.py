# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of the pools that are in the catalog, with the stamps of their files."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from virtlayer.protocol.records import RecordKind, Stamp, list_digest, record_file
from virtlayer.service.catalog import boots, images, layers, owners, pullers, volumes
from virtlayer.service.catalog.database import Database
from virtlayer.service.records.values import (
    BootRecord,
    ImageRecord,
    LayerRecord,
    Record,
    VolumeRecord,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it is in a pool.

    Attributes:
        record: The content.
        stamp: The stamp of its file.
    """

    record: Record
    stamp: Stamp

    @property
    def file(self) -> str:
        """The name of its file."""
        return record_file(self.record.kind, self.record.name)


@dataclass(frozen=True, slots=True)
class Bad:
    """A file in the place of a record that cannot be used.

    Attributes:
        file: Its name.
        stamp: The stamp of the file.
        reason: The reason, as a part of a sentence.
    """

    file: str
    stamp: Stamp
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A record that a pool no longer has.

    Attributes:
        file: The name of its file.
    """

    file: str


class Recorded:
    """The part of the catalog about records.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._digests: dict[str, str] = {}
        """Of the lists of pools, as long as they do not change; used under the catalog's lock."""

    async def stamps(self, pool: str) -> Mapping[str, Stamp]:
        """Return the stamps of the files of a pool that the catalog has read, by name."""
        rows = await self._database.run(lambda connection: _stamps(connection, pool))
        return {file: _stamp(text) for file, text in rows}

    async def stamps_of(self, pool: str, files: Iterable[str]) -> Mapping[str, Stamp]:
        """Return the stamps of those of these files that the catalog has read, by name."""
        names = tuple(files)

        def read(connection: sqlite3.Connection) -> dict[str, Stamp]:
            found = ((file, _known_stamp(connection, pool, file)) for file in names)
            return {file: stamp for file, stamp in found if stamp is not None}

        return await self._database.run(read)

    async def digest(self, pool: str) -> str:
        """Return the digest of the list of these files (``records.list_digest``)."""

        def digest(connection: sqlite3.Connection) -> str:
            if pool not in self._digests:
                self._digests[pool] = list_digest(_stamps(connection, pool))
            return self._digests[pool]

        return await self._database.run(digest)

    async def _change[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that changes records."""

        def change(connection: sqlite3.Connection) -> T:
            self._digests.clear()
            return function(connection)

        return await self._database.run(change)

    async def put(self, pool: str, changes: Iterable[Seen | Bad | Gone]) -> None:
        """Update the catalog from the records of a pool.

        Args:
            pool: The name of the pool.
            changes: The records that are new, changed or deleted.
        """
        await self._change(lambda connection: _put(connection, pool, changes))

    async def replace(
        self, pool: str, before: Stamp | None, change: Seen | Gone, inode: int | None = None
    ) -> Stamp | None:
        """Copy a new record into the catalog, unless another change has been read meanwhile.

        Args:
            pool: The name of the pool.
            before: The stamp of the file that the record has replaced; None if there was none.
            change: The record.
            inode: The inode of its volume; None if it is not a volume, or not known.

        Returns:
            The stamp of the file that the catalog knew; if it is not ``before``, nothing was done.
        """

        def replace(connection: sqlite3.Connection) -> Stamp | None:
            known = _known_stamp(connection, pool, change.file)
            if known == before:
                _put(connection, pool, [change])
            if isinstance(change, Seen) and inode is not None:
                volumes.note_inodes(connection, pool, {change.record.name: inode})
            return known

        return await self._change(replace)

    async def get(
        self, pool: str, kind: RecordKind, name: str
    ) -> tuple[Record | None, Stamp | None]:
        """The record of a kind and name, and the stamp of its file; None if there is none."""

        def get(connection: sqlite3.Connection) -> tuple[Record | None, Stamp | None]:
            row = connection.execute(
                "SELECT stamp FROM record WHERE pool = ? AND kind = ? AND name = ?",
                (pool, kind, name),
            ).fetchone()
            stamp = None if row is None or row[0] is None else _stamp(row[0])
            return _select(connection, pool, kind, name), stamp

        return await self._database.run(get)

    async def bad(self, pool: str) -> tuple[Bad, ...]:
        """The files of a pool in the place of records that cannot be used, by name."""
        statement = "SELECT file, stamp, reason FROM bad_record WHERE pool = ? ORDER BY file"
        return await self._database.run(
            lambda connection: tuple(
                Bad(file, _stamp(text), reason)
                for file, text, reason in connection.execute(statement, (pool,))
            )
        )

    async def unwritten(self, pool: str) -> tuple[Record, ...]:
        """Return the data of an older catalog about a pool that are not in a record yet."""
        statement = "SELECT kind, name FROM record WHERE pool = ? AND file IS NULL"

        def read(connection: sqlite3.Connection) -> tuple[Record, ...]:
            rows = connection.execute(statement, (pool,)).fetchall()
            found = (_select(connection, pool, RecordKind(kind), name) for kind, name in rows)
            return tuple(record for record in found if record is not None)

        return await self._database.run(read)

    async def forget_unwritten(self, pool: str) -> None:
        """Delete the data of an older catalog about a pool that are not in a record."""
        statement = "SELECT kind, name FROM record WHERE pool = ? AND file IS NULL"

        def forget(connection: sqlite3.Connection) -> None:
            _forget(connection, pool, connection.execute(statement, (pool,)).fetchall())

        await self._change(forget)

    async def pools(self) -> frozenset[str]:
        """Return the names of the pools that are in the catalog."""
        statement = "SELECT pool FROM record UNION SELECT pool FROM bad_record"
        return await self._database.run(
            lambda connection: frozenset(pool for (pool,) in connection.execute(statement))
        )

    async def forget_pool(self, pool: str) -> None:
        """Delete everything of a pool, including data that are not in a record yet."""

        def forget(connection: sqlite3.Connection) -> None:
            statement = "SELECT kind, name FROM record WHERE pool = ?"
            _forget(connection, pool, connection.execute(statement, (pool,)).fetchall())
            connection.execute("DELETE FROM bad_record WHERE pool = ?", (pool,))

        await self._change(forget)


def _stamps(connection: sqlite3.Connection, pool: str) -> list[tuple[str, str]]:
    statement = (
        "SELECT file, stamp FROM record WHERE pool = :pool AND file IS NOT NULL"
        " UNION ALL SELECT file, stamp FROM bad_record WHERE pool = :pool"
    )
    return connection.execute(statement, {"pool": pool}).fetchall()


def _known_stamp(connection: sqlite3.Connection, pool: str, file: str) -> Stamp | None:
    statement = (
        "SELECT stamp FROM record WHERE pool = :pool AND file = :file"
        " UNION ALL SELECT stamp FROM bad_record WHERE pool = :pool AND file = :file"
    )
    row = connection.execute(statement, {"pool": pool, "file": file}).fetchone()
    return None if row is None else _stamp(row[0])


def _put(connection: sqlite3.Connection, pool: str, changes: Iterable[Seen | Bad | Gone]) -> None:
    gone: set[tuple[RecordKind, str]] = set()
    for change in changes:
        gone |= _forget_file(connection, pool, change.file)
        match change:
            case Seen():
                _insert(connection, pool, change)
                gone.discard((change.record.kind, change.record.name))
            case Bad():
                connection.execute(
                    "INSERT INTO bad_record (pool, file, stamp, reason) VALUES (?, ?, ?, ?)",
                    (pool, change.file, _text(change.stamp), change.reason),
                )
            case Gone():
                pass
    _forget_rest(connection, pool, gone)


def _insert(connection: sqlite3.Connection, pool: str, seen: Seen) -> None:
    record = seen.record
    # The data of an older catalog under this name are not in the pool.
    _forget_details(connection, pool, record.kind, record.name)
    connection.execute(
        "INSERT OR REPLACE INTO record (pool, kind, name, file, stamp) VALUES (?, ?, ?, ?, ?)",
        (pool, record.kind, record.name, seen.file, _text(seen.stamp)),
    )
    match record:
        case ImageRecord():
            images.insert(connection, pool, record)
        case LayerRecord():
            layers.insert(connection, pool, record)
        case VolumeRecord():
            volumes.insert(connection, pool, record)
        case BootRecord():
            boots.insert(connection, pool, record)


def _select(
    connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str
) -> Record | None:
    if kind is RecordKind.IMAGE:
        return images.select_record(connection, pool, name)
    if kind is RecordKind.LAYER:
        return layers.select(connection, pool, name)
    if kind is RecordKind.BOOT:
        return boots.select(connection, pool, name)
    return volumes.select(connection, pool, kind, name)


def _forget_file(
    connection: sqlite3.Connection, pool: str, file: str
) -> set[tuple[RecordKind, str]]:
    """Delete the data of a file, except the id of an image; return the kind and name."""
    connection.execute("DELETE FROM bad_record WHERE pool = ? AND file = ?", (pool, file))
    rows = connection.execute(
        "DELETE FROM record WHERE pool = ? AND file = ? RETURNING kind, name", (pool, file)
    ).fetchall()
    found = {(RecordKind(kind), name) for kind, name in rows}
    for kind, name in found:
        _forget_details(connection, pool, kind, name)
    return found


def _forget_details(connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str) -> None:
    if kind is RecordKind.IMAGE:
        images.delete_details(connection, pool, name)
    elif kind is RecordKind.LAYER:
        layers.delete(connection, pool, name)
    elif kind is RecordKind.BOOT:
        boots.delete(connection, pool, name)
    else:
        volumes.delete(connection, pool, kind, name)
    pullers.delete(connection, pool, kind, name)
    owners.delete(connection, pool, kind, name)


def _forget(connection: sqlite3.Connection, pool: str, records: Iterable[tuple[str, str]]) -> None:
    gone = {(RecordKind(kind), name) for kind, name in records}
    for kind, name in gone:
        _forget_details(connection, pool, kind, name)
        connection.execute(
            "DELETE FROM record WHERE pool = ? AND kind = ? AND name = ?", (pool, kind, name)
        )
    _forget_rest(connection, pool, gone)


def _forget_rest(
    connection: sqlite3.Connection, pool: str, gone: Iterable[tuple[RecordKind, str]]
) -> None:
    """Delete the remaining data of records that were deleted."""
    kinds = set()
    for kind, name in gone:
        kinds.add(kind)
        if kind is RecordKind.IMAGE:
            images.delete(connection, pool, name)
    if RecordKind.LAYER in kinds:
        layers.forget_unused_blobs(connection)


def _text(stamp: Stamp) -> str:
    # As text: an inode may be larger than SQLite's integers.
    return str(stamp)


def _stamp(text: str) -> Stamp:
    return Stamp(*map(int, text.split()))
