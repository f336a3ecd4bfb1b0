# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the layer volumes were built from, and which of these blobs are known to be what they claim.

A volume was built from blobs with certain digests; that each unpacks to its diff id, a sandboxed
worker has said, which a blob may have taken over. A blob is *confirmed* when this service has seen
for itself that it unpacks to the diff id.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from virtlayer.service.catalog.database import Database

TABLES = """
    ALTER TABLE volume ADD COLUMN below TEXT NOT NULL DEFAULT '';
    CREATE TABLE built_layer (
        pool     TEXT NOT NULL,
        volume   TEXT NOT NULL,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL,
        blob     TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        PRIMARY KEY (pool, volume, position),
        FOREIGN KEY (pool, volume) REFERENCES volume (pool, name) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX built_layer_by_diff_id ON built_layer (pool, diff_id);
    CREATE INDEX built_layer_by_blob ON built_layer (blob);
    CREATE TABLE confirmed (
        blob    TEXT NOT NULL,
        diff_id TEXT NOT NULL,
        PRIMARY KEY (blob, diff_id)
    ) STRICT;
"""
"""A part of the catalog's migration to version 4."""


class BuiltLayer(NamedTuple):
    """A layer as it was built into a volume.

    Attributes:
        diff_id: The digest of its uncompressed archive.
        blob: The digest of the blob that was read.
        bytes: The size of that blob.
    """

    diff_id: str
    blob: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BuiltVolume:
    """A layer volume, and what it was built from.

    Attributes:
        pool: The name of its pool.
        name: Its own name.
        below: The id of the volume below it.
        layers: What was applied in it, base first.
    """

    pool: str
    name: str
    below: str
    layers: tuple[BuiltLayer, ...]


class BuiltLayers:
    """The part of the catalog about this.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, volume: BuiltVolume) -> None:
        """Record a layer volume that is ours, and what it was built from."""
        await self._database.run(lambda connection: _insert(connection, volume))

    async def find(self, pool: str, below: str, diff_ids: Sequence[str]) -> tuple[BuiltVolume, ...]:
        """The volumes on a certain volume that have these diff ids, from whichever blobs.

        Args:
            pool: The name of the pool.
            below: The id of the volume below.
            diff_ids: Base first.
        """
        return await self._database.run(
            lambda connection: _select(connection, pool, below, tuple(diff_ids))
        )

    async def forget(self, volume: BuiltVolume) -> None:
        """Forget what a volume was built from, because it is not true; the volume stays known."""
        statement = "DELETE FROM built_layer WHERE pool = ? AND volume = ?"
        await self._database.run(
            lambda connection: connection.execute(statement, (volume.pool, volume.name))
        )

    async def confirm(self, blob: str, diff_id: str) -> None:
        """Record that this service has seen a blob unpack to a diff id."""
        statement = "INSERT OR IGNORE INTO confirmed (blob, diff_id) VALUES (?, ?)"
        await self._database.run(lambda connection: connection.execute(statement, (blob, diff_id)))

    async def is_confirmed(self, blob: str, diff_id: str) -> bool:
        """Whether this service has seen a blob unpack to a diff id."""
        statement = "SELECT 1 FROM confirmed WHERE blob = ? AND diff_id = ?"
        row = await self._database.run(
            lambda connection: connection.execute(statement, (blob, diff_id)).fetchone()
        )
        return row is not None


def forget_unused(connection: sqlite3.Connection) -> None:
    """Forget what is known of blobs from which no volume is built."""
    connection.execute("DELETE FROM confirmed WHERE blob NOT IN (SELECT blob FROM built_layer)")


def _insert(connection: sqlite3.Connection, volume: BuiltVolume) -> None:
    place = (volume.pool, volume.name)
    connection.execute(
        "INSERT INTO volume (pool, name, below) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET below = excluded.below",
        (*place, volume.below),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO built_layer (pool, volume, position, diff_id, blob, bytes)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(*place, position, *layer) for position, layer in enumerate(volume.layers)],
    )


def _select(
    connection: sqlite3.Connection, pool: str, below: str, diff_ids: tuple[str, ...]
) -> tuple[BuiltVolume, ...]:
    names = connection.execute(
        "SELECT name FROM volume JOIN built_layer AS first"
        " ON first.pool = volume.pool AND first.volume = name AND position = 0"
        " WHERE volume.pool = ? AND below = ? AND diff_id = ? ORDER BY name",
        (pool, below, diff_ids[0]),
    ).fetchall()
    found = (BuiltVolume(pool, name, below, _layers(connection, pool, name)) for (name,) in names)
    return tuple(one for one in found if tuple(layer.diff_id for layer in one.layers) == diff_ids)


def _layers(connection: sqlite3.Connection, pool: str, volume: str) -> tuple[BuiltLayer, ...]:
    statement = (
        "SELECT diff_id, blob, bytes FROM built_layer WHERE pool = ? AND volume = ?"
        " ORDER BY position"
    )
    return tuple(BuiltLayer(*row) for row in connection.execute(statement, (pool, volume)))
