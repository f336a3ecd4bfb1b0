# SPDX-License-Identifier: LGPL-2.1-or-later
"""What images and hosts have to boot machines with, and the volumes that were made of it."""

import json
import sqlite3

from virtlayer.protocol.codec import decode, encode
from virtlayer.service.catalog.database import Database
from virtlayer.service.records.values import BootRecord


class Boots:
    """The part of the catalog about these records.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, pool: str) -> tuple[BootRecord, ...]:
        """Return all records of a pool, by name."""
        statement = "SELECT content FROM boot WHERE pool = ? ORDER BY name"
        return await self._database.run(
            lambda connection: tuple(
                _parsed(content) for (content,) in connection.execute(statement, (pool,))
            )
        )


def insert(connection: sqlite3.Connection, pool: str, record: BootRecord) -> None:
    """Add a record that the catalog does not have."""
    statement = "INSERT INTO boot (pool, name, content) VALUES (?, ?, ?)"
    connection.execute(statement, (pool, record.name, json.dumps(encode(record))))


def select(connection: sqlite3.Connection, pool: str, name: str) -> BootRecord | None:
    """The record of a name."""
    statement = "SELECT content FROM boot WHERE pool = ? AND name = ?"
    row = connection.execute(statement, (pool, name)).fetchone()
    return None if row is None else _parsed(row[0])


def delete(connection: sqlite3.Connection, pool: str, name: str) -> None:
    """Delete a record."""
    connection.execute("DELETE FROM boot WHERE pool = ? AND name = ?", (pool, name))


def _parsed(content: str) -> BootRecord:
    return decode(BootRecord, json.loads(content))
