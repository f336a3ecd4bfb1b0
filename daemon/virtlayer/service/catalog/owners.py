# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owners of content: blobs and configs by their digests.

The owners of content that this service has downloaded count for the blob cache and every pool.
Owners in the records of a pool count for that pool only: otherwise a user who can write the records
could give access to content of the cache and of other pools. Content without recorded owner is not
reused.
"""

import sqlite3
from collections.abc import Collection, Iterable

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.database import Database
from virtlayer.service.records.owners import Owner, OwnerKind

_OF_A_POOL = "SELECT kind, name FROM pool_owner WHERE pool = ? AND digest = ?"


class Owners:
    """The part of the catalog about owners.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, digest: str, owner: Owner) -> None:
        """Record a further owner of content that this service has downloaded."""
        statement = "INSERT OR IGNORE INTO owner (digest, kind, name) VALUES (?, ?, ?)"
        values = (digest, owner.kind, owner.name)
        await self._database.run(lambda connection: connection.execute(statement, values))

    async def belonging(
        self, digests: Iterable[str], owners: Collection[Owner], pool: str | None = None
    ) -> frozenset[str]:
        """Return the digests that belong to one of the owners.

        Args:
            digests: Digests of blobs and configs.
            owners: The owners.
            pool: The pool whose records count as well; None for no pool.
        """
        wanted = frozenset(digests)

        def find(connection: sqlite3.Connection) -> frozenset[str]:
            return frozenset(
                digest
                for digest in wanted
                if not _owners(connection, digest, pool).isdisjoint(owners)
            )

        return await self._database.run(find)

    async def of(self, digest: str, pool: str) -> frozenset[Owner]:
        """Return the owners of content in a pool."""
        return await self._database.run(lambda connection: _owners(connection, digest, pool))

    async def keep(self, digests: Collection[str]) -> None:
        """Delete the owners of content that is not in these, images or volumes."""

        def keep(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TEMPORARY TABLE kept (digest TEXT PRIMARY KEY) STRICT")
            connection.executemany(
                "INSERT OR IGNORE INTO kept (digest) VALUES (?)", ((one,) for one in digests)
            )
            connection.execute(
                "DELETE FROM owner WHERE digest NOT IN (SELECT digest FROM kept"
                " UNION SELECT image_id FROM image UNION SELECT blob FROM built_layer)"
            )
            connection.execute("DROP TABLE kept")

        await self._database.run(keep)


def insert(
    connection: sqlite3.Connection,
    pool: str,
    kind: RecordKind,
    name: str,
    digest: str,
    owners: frozenset[Owner],
) -> None:
    """Add the owners of content in a record."""
    connection.executemany(
        "INSERT OR IGNORE INTO pool_owner (pool, record_kind, record_name, digest, kind, name)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(pool, kind, name, digest, owner.kind, owner.name) for owner in owners],
    )


def delete(connection: sqlite3.Connection, pool: str, kind: str, name: str) -> None:
    """Delete the owners in a record."""
    connection.execute(
        "DELETE FROM pool_owner WHERE pool = ? AND record_kind = ? AND record_name = ?",
        (pool, kind, name),
    )


def select(
    connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str, digest: str
) -> frozenset[Owner]:
    """Return the owners of content in a record."""
    statement = f"{_OF_A_POOL} AND record_kind = ? AND record_name = ?"
    return _read(connection, statement, (pool, digest, kind, name))


def _owners(connection: sqlite3.Connection, digest: str, pool: str | None) -> frozenset[Owner]:
    own = _read(connection, "SELECT kind, name FROM owner WHERE digest = ?", (digest,))
    return own if pool is None else own | _read(connection, _OF_A_POOL, (pool, digest))


def _read(
    connection: sqlite3.Connection, statement: str, values: tuple[str, ...]
) -> frozenset[Owner]:
    rows = connection.execute(statement, values)
    return frozenset(Owner(OwnerKind(kind), name) for kind, name in rows)
