# SPDX-License-Identifier: LGPL-2.1-or-later
"""The images that the volumes of machines and containers were made of.

Other programs can delete such a volume at any time. Its inode shows whether it is still the same.
The catalog stores the inode when it first reads the record. The record does not contain it, because
a copy of the pool has other inodes.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from virtlayer.protocol.codec import decode, encode
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog import pullers
from virtlayer.service.catalog.database import Database, where
from virtlayer.service.records.values import Machine, VolumeRecord

_COLUMNS = "kind, name, image, source, digest, config, top, disk, id_base, machine, pool, inode"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogVolume(VolumeRecord):
    """A volume that was made of an image.

    Attributes:
        pool: The name of its pool.
        inode: The inode of its file or directory when the record was first read; None if it had
            none.
    """

    pool: str
    inode: int | None


class Volumes:
    """The part of the catalog about these volumes.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, pool: str) -> tuple[CatalogVolume, ...]:
        """Return the volumes, directories and disks of a pool that have records, by name and kind.

        A file that another program has deleted or replaced can still have a record.
        """
        return await self._database.run(lambda connection: _select(connection, pool))

    async def get(self, pool: str, kind: RecordKind, name: str) -> CatalogVolume | None:
        """Return the volume of a kind and name that has a record; see ``list``."""
        found = await self._database.run(lambda connection: _select(connection, pool, kind, name))
        return found[0] if found else None

    async def note_inodes(self, pool: str, inodes: Mapping[str, int]) -> None:
        """Store the inodes of volumes whose records were just read, by name."""
        await self._database.run(lambda connection: note_inodes(connection, pool, inodes))


def note_inodes(connection: sqlite3.Connection, pool: str, inodes: Mapping[str, int]) -> None:
    """Store the inodes of volumes that have none in the catalog."""
    statement = "UPDATE origin SET inode = ? WHERE pool = ? AND name = ? AND inode IS NULL"
    connection.executemany(statement, [(str(inode), pool, name) for name, inode in inodes.items()])


def insert(connection: sqlite3.Connection, pool: str, record: VolumeRecord) -> None:
    """Add a volume that the catalog does not have."""
    connection.execute(
        f"INSERT INTO origin ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",  # noqa: S608 -- a constant
        (
            record.kind,
            record.name,
            record.image,
            record.source,
            record.digest,
            record.config,
            record.top,
            record.disk,
            record.id_base,
            None if record.machine is None else json.dumps(encode(record.machine)),
            pool,
        ),
    )
    place = (pool, record.kind, record.name)
    pullers.insert(connection, *place, record.digest, record.source, record.pulled_by)


def delete(connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str) -> None:
    """Delete a volume."""
    statement = "DELETE FROM origin WHERE pool = ? AND kind = ? AND name = ?"
    connection.execute(statement, (pool, kind, name))


def select(
    connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str
) -> VolumeRecord | None:
    """The record of a volume."""
    for found in _select(connection, pool, kind, name):
        return VolumeRecord(
            kind=found.kind,
            name=found.name,
            image=found.image,
            source=found.source,
            digest=found.digest,
            config=found.config,
            top=found.top,
            disk=found.disk,
            id_base=found.id_base,
            pulled_by=found.pulled_by,
            machine=found.machine,
        )
    return None


def _select(
    connection: sqlite3.Connection,
    pool: str,
    kind: RecordKind | None = None,
    name: str | None = None,
) -> tuple[CatalogVolume, ...]:
    statement = (
        f"SELECT {_COLUMNS} FROM origin"  # noqa: S608 -- a constant
        f" {where(pool=pool, kind=kind, name=name)} ORDER BY name, kind"
    )
    return tuple(
        CatalogVolume(
            kind=RecordKind(row[0]),
            name=row[1],
            image=row[2],
            source=row[3],
            digest=row[4],
            config=row[5],
            top=row[6],
            disk=row[7],
            id_base=row[8],
            machine=None if row[9] is None else decode(Machine, json.loads(row[9])),
            pool=row[10],
            inode=None if row[11] is None else int(row[11]),
            pulled_by=pullers.select(connection, row[10], row[4], row[3]),
        )
        for row in connection.execute(
            statement, {"pool": pool, "kind": kind, "name": name}
        ).fetchall()
    )
