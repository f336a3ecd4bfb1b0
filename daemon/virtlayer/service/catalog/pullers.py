# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who pulled what into a pool: these users may see where an image came from, and its config."""

import sqlite3

from virtlayer.service.catalog.database import Database

TABLES = """
    CREATE TABLE puller (
        pool   TEXT NOT NULL,
        digest TEXT NOT NULL,
        source TEXT NOT NULL,
        uid    INTEGER NOT NULL,
        PRIMARY KEY (pool, digest, source, uid)
    ) STRICT;
    CREATE INDEX image_by_digest ON image (pool, digest);
    CREATE INDEX version_by_digest ON version (pool, digest);
    CREATE INDEX origin_by_digest ON origin (pool, digest);
"""
"""A part of the catalog's migration to version 5."""

_UNUSED = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {table} AS one WHERE one.pool = puller.pool"  # noqa: S608 -- ours
    " AND one.digest = puller.digest AND one.source = puller.source)"
    for table in ("image", "version", "origin")
)


class Pullers:
    """The part of the catalog about this.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_digest(self, pool: str, digest: str) -> frozenset[int]:
        """The uids of all who pulled a manifest into a pool, from whichever source."""
        statement = "SELECT uid FROM puller WHERE pool = ? AND digest = ?"
        return await self._database.run(
            lambda connection: frozenset(
                uid for (uid,) in connection.execute(statement, (pool, digest))
            )
        )


def add(
    connection: sqlite3.Connection, pool: str, digest: str, source: str, uids: frozenset[int]
) -> None:
    """Record that these users have pulled a manifest from a source."""
    connection.executemany(
        "INSERT OR IGNORE INTO puller (pool, digest, source, uid) VALUES (?, ?, ?, ?)",
        [(pool, digest, source, uid) for uid in uids],
    )


def of(connection: sqlite3.Connection, pool: str, digest: str, source: str) -> frozenset[int]:
    """The uids of those who have pulled a manifest from a source."""
    statement = "SELECT uid FROM puller WHERE pool = ? AND digest = ? AND source = ?"
    return frozenset(uid for (uid,) in connection.execute(statement, (pool, digest, source)))


def forget_unused(connection: sqlite3.Connection) -> None:
    """Forget who pulled what is in no pool by now."""
    connection.execute(f"DELETE FROM puller WHERE {_UNUSED}")  # noqa: S608 -- ours
