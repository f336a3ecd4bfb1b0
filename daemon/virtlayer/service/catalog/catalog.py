# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalog of the pools: an SQLite file in the state directory, which may always be deleted.

The records of the pools contain the images, their chains of volumes and their owners. The catalog
is a searchable copy of the records (``synchronization``). In addition, it has data of this host
only: its own downloads and verifications, and when it last looked for newer images.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virtlayer.service.catalog import changed_images, images, versions
from virtlayer.service.catalog.boots import Boots
from virtlayer.service.catalog.database import Database, where
from virtlayer.service.catalog.images import CatalogImage, ImageVolumes
from virtlayer.service.catalog.layers import Layers
from virtlayer.service.catalog.owners import Owners
from virtlayer.service.catalog.pullers import Pullers
from virtlayer.service.catalog.recorded import Recorded
from virtlayer.service.catalog.schema import MIGRATIONS
from virtlayer.service.catalog.versions import Version
from virtlayer.service.catalog.volumes import CatalogVolume, Volumes

__all__ = [
    "Catalog",
    "CatalogImage",
    "CatalogVolume",
    "ChangedImages",
    "ImageVolumes",
    "Version",
    "Visit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The last time when Populate looked for a newer version of an image, and the result.

    Attributes:
        pool: The name of the pool.
        name: The name of the image there.
        at: Microseconds since 1970.
        error: The name of the error; "" if none.
        message: The error message.
    """

    pool: str
    name: str
    at: int
    error: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ChangedImages:
    """Images that have changed.

    Attributes:
        gone: The ids of those that the catalog no longer has.
        images: The others, by pool and name.
        former: The former versions of their names, by the ids of the images.
    """

    gone: frozenset[int]
    images: tuple[CatalogImage, ...]
    former: Mapping[int, tuple[Version, ...]]


class Catalog(Database):
    """The catalog in one file; every change is a transaction.

    Args:
        path: The file; created with its directory if it is missing.

    Attributes:
        records: The records of the pools that were copied.
        layers: The layer volumes, and the blobs that they were built from.
        volumes: The volumes, directories and disks that were made of images.
        boots: What images and hosts have to boot machines with.
        pullers: The users who pulled images.
        owners: The owners of content.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, MIGRATIONS, changed_images.PREPARATION)
        self.records = Recorded(self)
        self.layers = Layers(self)
        self.volumes = Volumes(self)
        self.boots = Boots(self)
        self.pullers = Pullers(self)
        self.owners = Owners(self)

    async def get(self, pool: str, name: str) -> CatalogImage | None:
        """The image of that name in that pool."""
        found = await self.run(lambda connection: images.select(connection, pool, name))
        return found[0] if found else None

    async def list(self, pool: str | None = None) -> tuple[CatalogImage, ...]:
        """The images of a pool, or of all, by pool and name."""
        return await self.run(lambda connection: images.select(connection, pool))

    async def changed(self) -> ChangedImages:
        """Return the images that have changed since the last call, or since the catalog was opened.

        The first call returns all.
        """

        def take(connection: sqlite3.Connection) -> ChangedImages:
            ids = changed_images.take(connection)
            found = images.select_ids(connection, ids)
            former = {one.id: versions.select(connection, one.pool, one.name) for one in found}
            return ChangedImages(ids - former.keys(), found, former)

        return await self.run(take)

    async def image_volumes(self, pool: str) -> tuple[ImageVolumes, ...]:
        """The volumes of the images of a pool, by name."""
        return await self.run(lambda connection: images.select_volumes(connection, pool))

    async def versions(self, pool: str, name: str | None = None) -> tuple[Version, ...]:
        """The former versions of one name or all names in a pool; the newest of a name first."""
        return await self.run(lambda connection: versions.select(connection, pool, name))

    async def config(self, image_id: str, pool: str | None = None) -> str | None:
        """The text of the config that has this digest; None if no image has it.

        Args:
            image_id: The digest.
            pool: The pool of the image; None for any.
        """
        statement = f"SELECT config FROM image {where(image_id=image_id, pool=pool)} LIMIT 1"  # noqa: S608 -- our words
        row = await self.run(
            lambda connection: connection.execute(
                statement, {"image_id": image_id, "pool": pool}
            ).fetchone()
        )
        return None if row is None else str(row[0])

    async def visited(self, visit: Visit) -> None:
        """Record that Populate has looked for a newer version of an image."""
        statement = (
            "INSERT OR REPLACE INTO visit (pool, name, at, error, message) VALUES (?,?,?,?,?)"
        )
        values = (visit.pool, visit.name, visit.at, visit.error, visit.message)
        await self.run(lambda connection: connection.execute(statement, values))

    async def visit(self, pool: str, name: str) -> Visit | None:
        """When Populate last looked for a newer version of an image; None if it never has."""
        statement = "SELECT at, error, message FROM visit WHERE pool = ? AND name = ?"
        row = await self.run(
            lambda connection: connection.execute(statement, (pool, name)).fetchone()
        )
        if row is None:
            return None
        at, error, message = row
        return Visit(pool=pool, name=name, at=at, error=error, message=message)

    async def forget_visit(self, pool: str, name: str) -> None:
        """Forget when Populate looked for a newer version of an image that was removed."""

        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM visit WHERE pool = ? AND name = ?", (pool, name))

        await self.run(forget)
