# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which image is which chain of volumes: an SQLite file in the state directory.

libvirt keeps no metadata with a volume, and a pool may be shared, so the catalog is this
daemon's own memory. Everything in it can be found out again: which layer volumes there are, from
the pools (operations/rescan.py), and which image is which of them, by pulling it again.
"""

import dataclasses
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from virtlayer.service.catalog import built_layers, former_versions, owners, provenance, pullers
from virtlayer.service.catalog.built_layers import BuiltLayer, BuiltLayers, BuiltVolume
from virtlayer.service.catalog.database import Database
from virtlayer.service.catalog.former_versions import Version
from virtlayer.service.catalog.owners import Owners
from virtlayer.service.catalog.provenance import Origin
from virtlayer.service.catalog.pullers import Pullers
from virtlayer.service.catalog.replacing import Replacing, check_replacing

__all__ = [
    "BuiltLayer",
    "BuiltVolume",
    "Catalog",
    "ImageLayer",
    "ImageRecord",
    "Origin",
    "Version",
    "Visit",
]

_MIGRATIONS = (
    """
    CREATE TABLE image (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        pool         TEXT NOT NULL,
        name         TEXT NOT NULL,
        source       TEXT NOT NULL,
        digest       TEXT NOT NULL,
        image_id     TEXT NOT NULL,
        os           TEXT NOT NULL,
        architecture TEXT NOT NULL,
        variant      TEXT NOT NULL,
        config       TEXT NOT NULL,
        size         INTEGER NOT NULL,
        volume       TEXT NOT NULL,
        pulled_at    INTEGER NOT NULL,
        UNIQUE (pool, name)
    ) STRICT;
    CREATE TABLE layer (
        image    INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL,
        volume   TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        PRIMARY KEY (image, position)
    ) STRICT;
    CREATE TABLE volume (
        pool TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
    former_versions.TABLES
    + """
    CREATE TABLE visit (
        pool    TEXT NOT NULL,
        name    TEXT NOT NULL,
        at      INTEGER NOT NULL,
        error   TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
    provenance.TABLES,
    built_layers.TABLES,
    pullers.TABLES,
    owners.TABLES,
    """
    ALTER TABLE image ADD COLUMN policy_scope TEXT NOT NULL DEFAULT '';
    ALTER TABLE image ADD COLUMN unsigned_accepted INTEGER NOT NULL DEFAULT 1;
    """,
    provenance.ID_BASE,
)
"""Script n makes version n + 1 of a catalog of version n; those that were released stay."""


class ImageLayer(NamedTuple):
    """One layer of an image.

    Attributes:
        diff_id: The digest of its uncompressed archive.
        volume: The name of the volume that it is in.
        bytes: The size of its blob.
    """

    diff_id: str
    volume: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image that a pool has.

    Attributes:
        id: Given by the catalog; an image that is pulled again under its name keeps it, and no
            other image ever gets it. 0 in a record that is still to be put.
        pool: The name of the pool.
        name: The name of the image in that pool.
        source: The reference that it was pulled by.
        digest: Of its manifest.
        image_id: Of its config.
        os: As the config says.
        architecture: As the config says.
        variant: Of the architecture; "" if none.
        config: The config's JSON text.
        size: The virtual size of the volumes, in bytes.
        layers: Base first.
        volume: The name of the top volume.
        pulled_at: Microseconds since 1970.
        policy_scope: Which scope of the signature policy accepted it; "" if unknown.
        unsigned_accepted: Whether that accepted unsigned images.
        pulled_by: The uids of those who pulled this manifest from this source into this pool.
            Putting a record adds them to those that are known.
    """

    id: int = 0
    pool: str
    name: str
    source: str
    digest: str
    image_id: str
    os: str
    architecture: str
    variant: str
    config: str
    size: int
    layers: tuple[ImageLayer, ...]
    volume: str
    pulled_at: int
    policy_scope: str = ""
    unsigned_accepted: bool = True
    pulled_by: frozenset[int] = frozenset()


_COLUMNS = tuple(
    column.name
    for column in dataclasses.fields(ImageRecord)
    if column.name not in ("id", "layers", "pulled_by")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """When Populate last looked for a newer version of an image, and what came of it.

    Attributes:
        pool: The name of the pool.
        name: The name of the image there.
        at: Microseconds since 1970.
        error: The name of the error that it met; "" if none.
        message: What went wrong.
    """

    pool: str
    name: str
    at: int
    error: str = ""
    message: str = ""


class Catalog(Database):
    """The catalog in one file; every change is a transaction.

    Args:
        path: The file; made, with its directory, when it is not there.

    Attributes:
        built_layers: What the layer volumes were built from.
        pullers: Who pulled what.
        owners: Whose content is whose.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _MIGRATIONS)
        self.built_layers = BuiltLayers(self)
        self.pullers = Pullers(self)
        self.owners = Owners(self)

    async def put(
        self,
        record: ImageRecord,
        *,
        keep: int | None = None,
        replacing: Replacing = Replacing.SOURCES,
    ) -> ImageRecord:
        """Record an image, in the place of one of the same name in the same pool.

        Args:
            record: The image. One of other volumes becomes a former version of the name.
            keep: How many former versions are to be kept; None to keep those that are kept now.
            replacing: What may lose the name to it.

        Returns:
            The record with its id.

        Raises:
            ImageExists: The name belongs to an image of another source, which must stay.
            NotAuthorized: The name belongs to another version, which must stay.
        """

        def put(connection: sqlite3.Connection) -> ImageRecord:
            place = (record.pool, record.name)
            for present in _select(connection, "WHERE pool = ? AND name = ?", place):
                check_replacing(present, record, replacing)
            now = time.time_ns() // 1000
            former_versions.supersede(connection, *place, record.volume, now, kept=keep is not None)
            if keep is not None:
                former_versions.keep(connection, *place, keep)
            return _put(connection, record)

        return await self.run(put)

    async def get(self, pool: str, name: str) -> ImageRecord | None:
        """The image of that name in that pool."""
        found = await self.run(
            lambda connection: _select(connection, "WHERE pool = ? AND name = ?", (pool, name))
        )
        return found[0] if found else None

    async def config(self, image_id: str) -> str | None:
        """The text of the config that has this digest; None if no image has it."""
        statement = "SELECT config FROM image WHERE image_id = ? LIMIT 1"
        row = await self.run(
            lambda connection: connection.execute(statement, (image_id,)).fetchone()
        )
        return None if row is None else str(row[0])

    async def list(self, pool: str | None = None) -> tuple[ImageRecord, ...]:
        """The images of a pool, or of all, by pool and name."""
        where, values = ("", ()) if pool is None else ("WHERE pool = ?", (pool,))
        return await self.run(lambda connection: _select(connection, where, values))

    async def remove(self, pool: str, name: str) -> bool:
        """Forget an image, and keep none of its former versions; False if there was none."""

        def remove(connection: sqlite3.Connection) -> bool:
            former_versions.keep(connection, pool, name, 0)
            connection.execute("DELETE FROM visit WHERE pool = ? AND name = ?", (pool, name))
            statement = "DELETE FROM image WHERE pool = ? AND name = ?"
            removed = connection.execute(statement, (pool, name)).rowcount > 0
            pullers.forget_unused(connection)
            return removed

        return await self.run(remove)

    async def versions(self, pool: str | None = None) -> tuple[Version, ...]:
        """The former versions of the names in a pool, or in all; the newest of a name first."""
        return await self.run(lambda connection: former_versions.select(connection, pool))

    async def remove_version(self, version: Version) -> None:
        """Forget a former version."""
        statement = "DELETE FROM version WHERE id = ?"
        await self.run(lambda connection: connection.execute(statement, (version.id,)))

    async def visited(self, visit: Visit) -> None:
        """Record that Populate has looked for a newer version of an image."""
        statement = (
            "INSERT OR REPLACE INTO visit (pool, name, at, error, message) VALUES (?,?,?,?,?)"
        )
        values = (visit.pool, visit.name, visit.at, visit.error, visit.message)
        await self.run(lambda connection: connection.execute(statement, values))

    async def visit(self, pool: str, name: str) -> Visit | None:
        """When Populate last looked for a newer version of an image; None if it never has."""
        statement = "SELECT at, error, message FROM visit WHERE pool = ? AND name = ?"
        row = await self.run(
            lambda connection: connection.execute(statement, (pool, name)).fetchone()
        )
        if row is None:
            return None
        at, error, message = row
        return Visit(pool=pool, name=name, at=at, error=error, message=message)

    async def put_origin(self, origin: Origin, *, pulled_by: int) -> None:
        """Record where a volume comes from that stands on no other.

        Args:
            origin: Where it comes from.
            pulled_by: The uid of the user who pulled it.
        """

        def put(connection: sqlite3.Connection) -> None:
            provenance.insert(connection, origin)
            place = (origin.pool, origin.digest, origin.source)
            pullers.add(connection, *place, frozenset({pulled_by}))

        await self.run(put)

    async def origin(self, pool: str, volume: str) -> Origin | None:
        """Where a volume of that name came from; it may be another one by now."""
        return await self.run(lambda connection: provenance.select(connection, pool, volume))

    async def keep_origins(self, pool: str, volumes: Collection[str]) -> None:
        """Forget where the volumes of a pool came from that are not among these."""
        await self.run(lambda connection: provenance.keep(connection, pool, volumes))

    async def add_volume(self, pool: str, name: str) -> None:
        """Record a layer volume that is ours, also when no image has it yet."""
        statement = "INSERT OR IGNORE INTO volume (pool, name) VALUES (?, ?)"
        await self.run(lambda connection: connection.execute(statement, (pool, name)))

    async def volumes(self, pool: str) -> frozenset[str]:
        """The names of the layer volumes in a pool that are ours."""
        statement = "SELECT name FROM volume WHERE pool = ?"
        return await self.run(
            lambda connection: frozenset(name for (name,) in connection.execute(statement, (pool,)))
        )

    async def remove_volume(self, pool: str, name: str) -> None:
        """Forget a layer volume, and the former versions that lack it now."""

        def remove(connection: sqlite3.Connection) -> None:
            former_versions.forget_volume(connection, pool, name)
            connection.execute("DELETE FROM volume WHERE pool = ? AND name = ?", (pool, name))
            built_layers.forget_unused(connection)

        await self.run(remove)


def _put(connection: sqlite3.Connection, record: ImageRecord) -> ImageRecord:
    columns = ", ".join(_COLUMNS)
    places = ", ".join("?" * len(_COLUMNS))
    update = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
    (number,) = connection.execute(
        f"INSERT INTO image ({columns}) VALUES ({places}) "  # noqa: S608 -- names from our own class
        f"ON CONFLICT (pool, name) DO UPDATE SET {update} RETURNING id",
        [getattr(record, column) for column in _COLUMNS],
    ).fetchone()
    connection.execute("DELETE FROM layer WHERE image = ?", (number,))
    connection.executemany(
        "INSERT INTO layer (image, position, diff_id, volume, bytes) VALUES (?, ?, ?, ?, ?)",
        [(number, position, *layer) for position, layer in enumerate(record.layers)],
    )
    place = (record.pool, record.digest, record.source)
    pullers.add(connection, *place, record.pulled_by)
    return dataclasses.replace(record, id=number, pulled_by=pullers.of(connection, *place))


def _select(
    connection: sqlite3.Connection, where: str, values: tuple[str, ...]
) -> tuple[ImageRecord, ...]:
    statement = f"SELECT id, {', '.join(_COLUMNS)} FROM image {where} ORDER BY pool, name"  # noqa: S608 -- ours
    return tuple(
        _record(connection, dict(zip(("id", *_COLUMNS), row, strict=True)))
        for row in connection.execute(statement, values).fetchall()
    )


def _record(connection: sqlite3.Connection, columns: dict[str, Any]) -> ImageRecord:
    columns["unsigned_accepted"] = bool(columns["unsigned_accepted"])
    return ImageRecord(
        **columns,
        layers=_layers(connection, columns["id"]),
        pulled_by=pullers.of(connection, columns["pool"], columns["digest"], columns["source"]),
    )


def _layers(connection: sqlite3.Connection, image: int) -> tuple[ImageLayer, ...]:
    statement = "SELECT diff_id, volume, bytes FROM layer WHERE image = ? ORDER BY position"
    return tuple(ImageLayer(*row) for row in connection.execute(statement, (image,)))
