# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blobs that layer volumes were built from, and which of these blobs are confirmed.

A volume was built from blobs with certain digests. A sandboxed worker, which a blob may have
compromised, has reported that each unpacks to its diff id. A blob is *confirmed* when this service
has verified that itself. This is stored for this host only, and not in the records of a pool.
"""

import sqlite3
from collections.abc import Sequence

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog import owners
from virtlayer.service.catalog.database import Database
from virtlayer.service.records.values import BuiltLayer, LayerRecord


class Layers:
    """The part of the catalog about layer volumes.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def names(self, pool: str) -> frozenset[str]:
        """Return the names of the layer volumes in a pool that virtlayer has made."""
        statement = "SELECT name FROM volume WHERE pool = ?"
        return await self._database.run(
            lambda connection: frozenset(name for (name,) in connection.execute(statement, (pool,)))
        )

    async def find(self, pool: str, below: str, diff_ids: Sequence[str]) -> tuple[LayerRecord, ...]:
        """Return the volumes on a certain volume that have these diff ids, from any blobs.

        Args:
            pool: The name of the pool.
            below: The id of the volume below.
            diff_ids: Base first.
        """
        return await self._database.run(
            lambda connection: _select(connection, pool, below, tuple(diff_ids))
        )

    async def confirm(self, blob: str, diff_id: str) -> None:
        """Record that this service has verified that a blob unpacks to a diff id."""
        statement = "INSERT OR IGNORE INTO confirmed (blob, diff_id) VALUES (?, ?)"
        await self._database.run(lambda connection: connection.execute(statement, (blob, diff_id)))

    async def is_confirmed(self, blob: str, diff_id: str) -> bool:
        """Return whether this service has verified that a blob unpacks to a diff id."""
        statement = "SELECT 1 FROM confirmed WHERE blob = ? AND diff_id = ?"
        row = await self._database.run(
            lambda connection: connection.execute(statement, (blob, diff_id)).fetchone()
        )
        return row is not None


def insert(connection: sqlite3.Connection, pool: str, record: LayerRecord) -> None:
    """Add a layer volume that the catalog does not have."""
    connection.execute(
        "INSERT INTO volume (pool, name, below, identity) VALUES (?, ?, ?, ?)",
        (pool, record.name, record.below, record.identity),
    )
    connection.executemany(
        "INSERT INTO built_layer (pool, volume, position, diff_id, blob, bytes)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (pool, record.name, position, layer.diff_id, layer.blob, layer.bytes)
            for position, layer in enumerate(record.layers)
        ],
    )
    for layer in record.layers:
        owners.insert(connection, pool, record.kind, record.name, layer.blob, layer.owners)


def delete(connection: sqlite3.Connection, pool: str, name: str) -> None:
    """Delete a layer volume."""
    connection.execute("DELETE FROM volume WHERE pool = ? AND name = ?", (pool, name))


def forget_unused_blobs(connection: sqlite3.Connection) -> None:
    """Delete the confirmations of blobs from which no volume is built."""
    connection.execute(
        "DELETE FROM confirmed"
        " WHERE NOT EXISTS (SELECT 1 FROM built_layer WHERE built_layer.blob = confirmed.blob)"
    )


def select(connection: sqlite3.Connection, pool: str, name: str) -> LayerRecord | None:
    """The layer volume of a name."""
    row = connection.execute(
        "SELECT below, identity FROM volume WHERE pool = ? AND name = ?", (pool, name)
    ).fetchone()
    if row is None:
        return None
    below, identity = row
    return _record(connection, pool, name, below, identity)


def _select(
    connection: sqlite3.Connection, pool: str, below: str, diff_ids: tuple[str, ...]
) -> tuple[LayerRecord, ...]:
    names = connection.execute(
        "SELECT name, identity FROM volume JOIN built_layer AS first"
        " ON first.pool = volume.pool AND first.volume = name AND position = 0"
        " WHERE volume.pool = ? AND below = ? AND diff_id = ? ORDER BY name",
        (pool, below, diff_ids[0]),
    ).fetchall()
    found = (_record(connection, pool, name, below, identity) for name, identity in names)
    return tuple(one for one in found if tuple(layer.diff_id for layer in one.layers) == diff_ids)


def _record(
    connection: sqlite3.Connection, pool: str, name: str, below: str, identity: int | None
) -> LayerRecord:
    return LayerRecord(
        name=name,
        below=below,
        layers=_layers(connection, pool, name),
        identity=None if identity is None else bool(identity),
    )


def _layers(connection: sqlite3.Connection, pool: str, volume: str) -> tuple[BuiltLayer, ...]:
    statement = (
        "SELECT diff_id, blob, bytes FROM built_layer WHERE pool = ? AND volume = ?"
        " ORDER BY position"
    )
    return tuple(
        BuiltLayer(
            diff_id,
            blob,
            size,
            owners.select(connection, pool, RecordKind.LAYER, volume, blob),
        )
        for diff_id, blob, size in connection.execute(statement, (pool, volume)).fetchall()
    )
