# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose content is whose: blobs and configs by their digests, wherever they are kept.

A blob is in the blob cache, in volumes of pools, or in both; the digest is the same. What is not in
here belongs to nobody: it is reused for nobody.
"""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from virtlayer.service.catalog.database import Database

TABLES = """
    CREATE TABLE owner (
        digest TEXT NOT NULL,
        kind   TEXT NOT NULL,
        name   TEXT NOT NULL,
        PRIMARY KEY (digest, kind, name)
    ) STRICT;
"""
"""A part of the catalog's migration to version 6."""


class OwnerKind(StrEnum):
    """What content can belong to."""

    EVERYBODY = "everybody"
    REPOSITORY = "repository"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Owner:
    """What content belongs to.

    Attributes:
        kind: Everybody, a repository, or a user.
        name: ``host[:port]/path`` of a repository, the uid of a user; "" for everybody.
    """

    kind: OwnerKind
    name: str = ""


EVERYBODY = Owner(OwnerKind.EVERYBODY)
"""The owner of content that was once obtained without credentials."""


class Owners:
    """The part of the catalog about this.

    Args:
        database: The catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, digest: str, owner: Owner) -> None:
        """Record that content belongs to an owner as well."""
        statement = "INSERT OR IGNORE INTO owner (digest, kind, name) VALUES (?, ?, ?)"
        values = (digest, owner.kind, owner.name)
        await self._database.run(lambda connection: connection.execute(statement, values))

    async def belonging(self, digests: Iterable[str], owners: Collection[Owner]) -> frozenset[str]:
        """Those of the digests that belong to one of the owners."""
        wanted = frozenset(digests)

        def find(connection: sqlite3.Connection) -> frozenset[str]:
            statement = "SELECT 1 FROM owner WHERE digest = ? AND kind = ? AND name = ?"
            return frozenset(
                digest
                for digest in wanted
                if any(
                    connection.execute(statement, (digest, owner.kind, owner.name)).fetchone()
                    for owner in owners
                )
            )

        return await self._database.run(find)

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
