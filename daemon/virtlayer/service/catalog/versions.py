# SPDX-License-Identifier: LGPL-2.1-or-later
"""The former versions of the names of images (``records.former_versions``)."""

import functools
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog import pullers
from virtlayer.service.catalog.database import where
from virtlayer.service.records.values import FormerVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(FormerVersion):
    """A former version of a name.

    Attributes:
        pool: The name of the pool.
        name: The name of the image in that pool.
    """

    pool: str
    name: str


def insert(
    connection: sqlite3.Connection, pool: str, name: str, former: Sequence[FormerVersion]
) -> None:
    """Add the former versions of a name, the newest first."""
    for position, version in enumerate(former):
        (number,) = connection.execute(
            "INSERT INTO version (pool, name, position, source, digest, config, volume, pulled_at,"
            " replaced_at, kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                pool,
                name,
                position,
                version.source,
                version.digest,
                version.config,
                version.volume,
                version.pulled_at,
                version.replaced_at,
                int(version.kept),
            ),
        ).fetchone()
        connection.executemany(
            "INSERT INTO version_volume (version, position, volume) VALUES (?, ?, ?)",
            [(number, place, volume) for place, volume in enumerate(version.volumes)],
        )
        image = (RecordKind.IMAGE, name, version.digest, version.source)
        pullers.insert(connection, pool, *image, version.pulled_by)


def delete(connection: sqlite3.Connection, pool: str, name: str) -> None:
    """Delete the former versions of a name."""
    connection.execute("DELETE FROM version WHERE pool = ? AND name = ?", (pool, name))


def select(
    connection: sqlite3.Connection, pool: str, name: str | None = None
) -> tuple[Version, ...]:
    """Return the former versions of one name or all in a pool; the newest first."""
    statement = (
        "SELECT id, pool, name, source, digest, config, volume, pulled_at, replaced_at, kept"  # noqa: S608 -- a constant
        f" FROM version {where(pool=pool, name=name)} ORDER BY pool, name, position"
    )
    users = functools.cache(functools.partial(pullers.select, connection))
    return tuple(
        Version(
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
            pulled_by=users(row[1], row[4], row[3]),
        )
        for row in connection.execute(statement, {"pool": pool, "name": name}).fetchall()
    )


def _volumes(connection: sqlite3.Connection, version: int) -> tuple[str, ...]:
    statement = "SELECT volume FROM version_volume WHERE version = ? ORDER BY position"
    return tuple(volume for (volume,) in connection.execute(statement, (version,)))
