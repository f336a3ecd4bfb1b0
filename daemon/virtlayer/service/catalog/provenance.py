# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which image a volume was made of that stands on no other: a directory, or a machine's disk.

Such a volume is no image that others are built on, and nothing here keeps it from being deleted
behind our back. What says that it is still the same is its inode.
"""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

TABLES = """
    CREATE TABLE origin (
        pool   TEXT NOT NULL,
        volume TEXT NOT NULL,
        inode  INTEGER NOT NULL,
        image  TEXT NOT NULL,
        source TEXT NOT NULL,
        digest TEXT NOT NULL,
        config TEXT NOT NULL,
        PRIMARY KEY (pool, volume)
    ) STRICT;
"""
"""A part of the catalog's migration to version 3."""
ID_BASE = "ALTER TABLE origin ADD COLUMN id_base INTEGER;"
"""The migration to version 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a volume comes from.

    Attributes:
        pool: The name of its pool.
        volume: Its own name.
        inode: Of its file or directory.
        image: What the image was called.
        source: The reference that it was pulled by.
        digest: Of its manifest.
        config: The config's JSON text.
        id_base: What the id 0 of the image became in a directory whose ids were mapped for a
            container; None if they were not.
    """

    pool: str
    volume: str
    inode: int
    image: str
    source: str
    digest: str
    config: str
    id_base: int | None = None


def insert(connection: sqlite3.Connection, origin: Origin) -> None:
    """Record an origin, in the place of one of a volume of that name."""
    connection.execute(
        "INSERT OR REPLACE INTO origin"
        " (pool, volume, inode, image, source, digest, config, id_base)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            origin.pool,
            origin.volume,
            origin.inode,
            origin.image,
            origin.source,
            origin.digest,
            origin.config,
            origin.id_base,
        ),
    )


def keep(connection: sqlite3.Connection, pool: str, volumes: Collection[str]) -> None:
    """Forget the origins in a pool of all other volumes."""
    there = connection.execute("SELECT volume FROM origin WHERE pool = ?", (pool,)).fetchall()
    for (volume,) in there:
        if volume not in volumes:
            connection.execute("DELETE FROM origin WHERE pool = ? AND volume = ?", (pool, volume))


def select(connection: sqlite3.Connection, pool: str, volume: str) -> Origin | None:
    """The origin of a volume of that name, which may be another one by now."""
    row = connection.execute(
        "SELECT pool, volume, inode, image, source, digest, config, id_base FROM origin"
        " WHERE pool = ? AND volume = ?",
        (pool, volume),
    ).fetchone()
    if row is None:
        return None
    return Origin(
        pool=row[0],
        volume=row[1],
        inode=row[2],
        image=row[3],
        source=row[4],
        digest=row[5],
        config=row[6],
        id_base=row[7],
    )
