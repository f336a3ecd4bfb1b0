# SPDX-License-Identifier: LGPL-2.1-or-later
"""The users who pulled images into a pool; they may see the source and config of an image."""

import sqlite3

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.database import Database


class Pullers:
    """The part of the catalog about these users.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_digest(self, pool: str, digest: str) -> frozenset[int]:
        """Return the uids of all users who pulled a manifest into a pool, from any source."""
        statement = "SELECT DISTINCT uid FROM puller WHERE pool = ? AND digest = ?"
        return await self._database.run(
            lambda connection: frozenset(
                uid for (uid,) in connection.execute(statement, (pool, digest))
            )
        )


def insert(
    connection: sqlite3.Connection,
    pool: str,
    kind: RecordKind,
    name: str,
    digest: str,
    source: str,
    uids: frozenset[int],
) -> None:
    """Add the users in a record who have pulled a manifest from a source."""
    connection.executemany(
        "INSERT OR IGNORE INTO puller (pool, kind, name, digest, source, uid)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(pool, kind, name, digest, source, uid) for uid in uids],
    )


def delete(connection: sqlite3.Connection, pool: str, kind: str, name: str) -> None:
    """Delete the users in a record."""
    connection.execute(
        "DELETE FROM puller WHERE pool = ? AND kind = ? AND name = ?", (pool, kind, name)
    )


def select(connection: sqlite3.Connection, pool: str, digest: str, source: str) -> frozenset[int]:
    """Return the uids of the users who pulled a manifest from a source, in all records."""
    statement = "SELECT DISTINCT uid FROM puller WHERE pool = ? AND digest = ? AND source = ?"
    return frozenset(uid for (uid,) in connection.execute(statement, (pool, digest, source)))
