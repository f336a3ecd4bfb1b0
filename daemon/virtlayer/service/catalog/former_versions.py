# SPDX-License-Identifier: LGPL-2.1-or-later
"""The former versions of a name: what an image was before its tag moved.

A version stays in the catalog for as long as any of its own volumes is in the pool. It is *kept*
while Populate is told to keep it: then its volumes are needed, like an image's. Otherwise it goes
with the next prune or populate, or, where machines still run on it, with the last of these.
"""

import sqlite3
from dataclasses import dataclass

TABLES = """
    CREATE TABLE version (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        pool        TEXT NOT NULL,
        name        TEXT NOT NULL,
        source      TEXT NOT NULL,
        digest      TEXT NOT NULL,
        config      TEXT NOT NULL,
        volume      TEXT NOT NULL,
        pulled_at   INTEGER NOT NULL,
        replaced_at INTEGER NOT NULL,
        kept        INTEGER NOT NULL,
        UNIQUE (pool, name, volume)
    ) STRICT;
    CREATE TABLE version_volume (
        version  INTEGER NOT NULL REFERENCES version (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        volume   TEXT NOT NULL,
        PRIMARY KEY (version, position)
    ) STRICT;
"""
"""A part of the catalog's migration to version 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a name meant before.

    Attributes:
        id: Given by the catalog.
        pool: The name of the pool.
        name: The name of the image in that pool.
        source: The reference that it was pulled by.
        digest: Of its manifest.
        config: The config's JSON text.
        volume: The name of its top volume.
        volumes: The names of all its volumes, base first.
        pulled_at: Microseconds since 1970.
        replaced_at: Likewise.
        kept: Whether its volumes are needed, even if no machine uses them.
    """

    id: int
    pool: str
    name: str
    source: str
    digest: str
    config: str
    volume: str
    volumes: tuple[str, ...]
    pulled_at: int
    replaced_at: int
    kept: bool


def supersede(
    connection: sqlite3.Connection, pool: str, name: str, volume: str, now: int, *, kept: bool
) -> None:
    """Make the present image of a name a former version, if the new one is another.

    Args:
        connection: In a transaction.
        pool: The pool.
        name: The image's name there.
        volume: The new top volume. A former version with it is former no more.
        now: Microseconds since 1970.
        kept: Whether the version is one that is kept, for now.
    """
    connection.execute(
        "DELETE FROM version WHERE pool = ? AND name = ? AND volume = ?", (pool, name, volume)
    )
    image = connection.execute(
        "SELECT id FROM image WHERE pool = ? AND name = ? AND volume <> ?", (pool, name, volume)
    ).fetchone()
    if image is None:
        return
    (number,) = connection.execute(
        "INSERT INTO version"
        " (pool, name, source, digest, config, volume, pulled_at, replaced_at, kept)"
        " SELECT pool, name, source, digest, config, volume, pulled_at, ?, ?"
        " FROM image WHERE id = ? RETURNING id",
        (now, int(kept), *image),
    ).fetchone()
    connection.execute(
        "INSERT INTO version_volume (version, position, volume)"
        " SELECT ?, min(position), volume FROM layer WHERE image = ? GROUP BY volume",
        (number, *image),
    )


def keep(connection: sqlite3.Connection, pool: str, name: str, number: int) -> None:
    """Keep this many former versions of a name, the newest ones, and no others."""
    connection.execute(
        "UPDATE version SET kept = id IN (SELECT id FROM version WHERE pool = ?1 AND name = ?2"
        " ORDER BY replaced_at DESC, id DESC LIMIT ?3) WHERE pool = ?1 AND name = ?2",
        (pool, name, number),
    )


def forget_volume(connection: sqlite3.Connection, pool: str, volume: str) -> None:
    """Forget the versions that lack this volume from now on."""
    connection.execute(
        "DELETE FROM version WHERE pool = ? AND id IN"
        " (SELECT version FROM version_volume WHERE volume = ?)",
        (pool, volume),
    )


def select(connection: sqlite3.Connection, pool: str | None) -> tuple[Version, ...]:
    """The former versions in a pool, or in all, the newest of a name first."""
    statement = (
        "SELECT id, pool, name, source, digest, config, volume, pulled_at, replaced_at, kept"
        " FROM version WHERE ?1 IS NULL OR pool = ?1 ORDER BY pool, name, replaced_at DESC, id DESC"
    )
    return tuple(
        Version(
            id=row[0],
            pool=row[1],
            name=row[2],
            source=row[3],
            digest=row[4],
            config=row[5],
            volume=row[6],
            volumes=_volumes(connection, row[0]),
            pulled_at=row[7],
            replaced_at=row[8],
            kept=bool(row[9]),
        )
        for row in connection.execute(statement, (pool,)).fetchall()
    )


def _volumes(connection: sqlite3.Connection, version: int) -> tuple[str, ...]:
    statement = "SELECT volume FROM version_volume WHERE version = ? ORDER BY position"
    return tuple(volume for (volume,) in connection.execute(statement, (version,)))
