# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whom content belongs to: blobs and configs by their digests.

What this service has downloaded, it knows for itself, and that is true for the blob cache and for
every pool. What the records of a pool say is true for that pool alone: whoever can write them could
otherwise give away what is in the cache, and in other pools. What is in neither belongs to nobody:
it is reused for nobody.
"""

import sqlite3
from collections.abc import Collection, Iterable

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.database import Database
from virtlayer.service.records.owners import Owner, OwnerKind

_OF_A_POOL = "SELECT kind, name FROM pool_owner WHERE pool = ? AND digest = ?"


class Owners:
    """The part of the catalog about this.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, digest: str, owner: Owner) -> None:
        """Record that content which this service has downloaded belongs to an owner as well."""
        statement = "INSERT OR IGNORE INTO owner (digest, kind, name) VALUES (?, ?, ?)"
        values = (digest, owner.kind, owner.name)
        await self._database.run(lambda connection: connection.execute(statement, values))

    async def belonging(
        self, digests: Iterable[str], owners: Collection[Owner], pool: str | None = None
    ) -> frozenset[str]:
        """Those of the digests that belong to one of the owners.

        Args:
            digests: Of blobs and configs.
            owners: The owners.
            pool: The pool whose records are believed as well; None for no pool.
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
        """Whom content belongs to that is in a pool."""
        return await self._database.run(lambda connection: _owners(connection, digest, pool))

    async def keep(self, digests: Collection[str]) -> None:
        """Forget the owners of everything that is neither in these nor in images or volumes."""

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
    """Add what a record says about the owners of content."""
    connection.executemany(
        "INSERT OR IGNORE INTO pool_owner (pool, record_kind, record_name, digest, kind, name)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(pool, kind, name, digest, owner.kind, owner.name) for owner in owners],
    )


def delete(connection: sqlite3.Connection, pool: str, kind: str, name: str) -> None:
    """Forget what a record says about owners."""
    connection.execute(
        "DELETE FROM pool_owner WHERE pool = ? AND record_kind = ? AND record_name = ?",
        (pool, kind, name),
    )


def select(
    connection: sqlite3.Connection, pool: str, kind: RecordKind, name: str, digest: str
) -> frozenset[Owner]:
    """What a record says about the owners of content."""
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
