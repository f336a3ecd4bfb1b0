# SPDX-License-Identifier: LGPL-2.1-or-later
"""The images of the catalog."""

import dataclasses
import functools
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog import owners, pullers, versions
from virtlayer.service.catalog.database import where
from virtlayer.service.records.values import (
    FormerVersion,
    ImageLayer,
    ImageRecord,
    PulledImage,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogImage(PulledImage):
    """An image that a pool has.

    Attributes:
        id: Assigned by the catalog; an image that is pulled again under its name keeps it, and it
            is never reused.
        pool: The name of the pool.
        identity: The ``identity`` of its top volume.
    """

    id: int
    pool: str
    identity: bool | None = None


_COLUMNS = tuple(
    column.name
    for column in dataclasses.fields(PulledImage)
    if column.name not in ("layers", "pulled_by")
)
_IDENTITY = (
    "(SELECT identity FROM volume"
    " WHERE volume.pool = image.pool AND volume.name = image.volume) AS identity"
)


@dataclass(frozen=True, slots=True)
class ImageVolumes:
    """The volumes of an image.

    Attributes:
        name: The name of the image in its pool.
        volumes: The names of its volumes, base first.
    """

    name: str
    volumes: tuple[str, ...]


def insert(connection: sqlite3.Connection, pool: str, record: ImageRecord) -> None:
    """Add an image, or update the one of which ``delete_details`` kept the name and id."""
    columns = ("pool", *_COLUMNS)
    places = ", ".join("?" * len(columns))
    update = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
    (number,) = connection.execute(
        f"INSERT INTO image ({', '.join(columns)}) VALUES ({places}) "  # noqa: S608 -- names from our own class
        f"ON CONFLICT (pool, name) DO UPDATE SET {update} RETURNING id",
        [pool, *(getattr(record, column) for column in _COLUMNS)],
    ).fetchone()
    connection.executemany(
        "INSERT INTO layer (image, position, diff_id, volume, bytes) VALUES (?, ?, ?, ?, ?)",
        [
            (number, position, layer.diff_id, layer.volume, layer.bytes)
            for position, layer in enumerate(record.layers)
        ],
    )
    place = (pool, record.kind, record.name)
    pullers.insert(connection, *place, record.digest, record.source, record.pulled_by)
    owners.insert(connection, *place, record.image_id, record.owners)
    versions.insert(connection, pool, record.name, record.former)


def delete_details(connection: sqlite3.Connection, pool: str, name: str) -> None:
    """Delete everything of an image except its id."""
    connection.execute(
        "DELETE FROM layer WHERE image = (SELECT id FROM image WHERE pool = ? AND name = ?)",
        (pool, name),
    )
    versions.delete(connection, pool, name)


def delete(connection: sqlite3.Connection, pool: str, name: str) -> None:
    """Delete an image."""
    delete_details(connection, pool, name)
    connection.execute("DELETE FROM image WHERE pool = ? AND name = ?", (pool, name))


def select(
    connection: sqlite3.Connection, pool: str | None = None, name: str | None = None
) -> tuple[CatalogImage, ...]:
    """Return the images of one pool or all pools, or the image of a name, by pool and name."""
    return _select(connection, where(pool=pool, name=name), {"pool": pool, "name": name})


def select_ids(connection: sqlite3.Connection, ids: Iterable[int]) -> tuple[CatalogImage, ...]:
    """Return the images with these ids, by pool and name; unknown ids are left out."""
    return _select(
        connection,
        "WHERE id IN (SELECT value FROM json_each(:ids))",
        {"ids": json.dumps(sorted(ids))},
    )


def select_volumes(connection: sqlite3.Connection, pool: str) -> tuple[ImageVolumes, ...]:
    """Return the volumes of the images of a pool, by name."""
    statement = (
        "SELECT name, layer.volume, image.volume FROM image JOIN layer ON layer.image = image.id"
        " WHERE pool = ? ORDER BY name, position"
    )
    found: dict[str, dict[str, None]] = {}
    tops: dict[str, str] = {}
    for name, volume, top in connection.execute(statement, (pool,)):
        found.setdefault(name, {})[volume] = None
        tops[name] = top
    return tuple(
        ImageVolumes(name, tuple(volumes | {tops[name]: None})) for name, volumes in found.items()
    )


def _select(
    connection: sqlite3.Connection, condition: str, values: Mapping[str, str | None]
) -> tuple[CatalogImage, ...]:
    statement = (
        f"SELECT id, pool, {_IDENTITY}, {', '.join(_COLUMNS)} FROM image"  # noqa: S608 -- ours
        f" {condition} ORDER BY pool, name"
    )
    # Many images can have the same manifest and source: their users are read once.
    users = functools.cache(functools.partial(pullers.select, connection))
    return tuple(
        _image(
            connection, dict(zip(("id", "pool", "identity", *_COLUMNS), row, strict=True)), users
        )
        for row in connection.execute(statement, values).fetchall()
    )


def select_record(connection: sqlite3.Connection, pool: str, name: str) -> ImageRecord | None:
    """The record of an image."""
    found = select(connection, pool, name)
    if not found:
        return None
    [image] = found
    return ImageRecord(
        **_fields(PulledImage, image),
        owners=owners.select(connection, pool, RecordKind.IMAGE, name, image.image_id),
        former=tuple(
            FormerVersion(**_fields(FormerVersion, version))
            for version in versions.select(connection, pool, name)
        ),
    )


def _image(
    connection: sqlite3.Connection,
    columns: dict[str, Any],
    users: Callable[[str, str, str], frozenset[int]],
) -> CatalogImage:
    columns["unsigned_accepted"] = bool(columns["unsigned_accepted"])
    if columns["identity"] is not None:
        columns["identity"] = bool(columns["identity"])
    return CatalogImage(
        **columns,
        layers=_layers(connection, columns["id"]),
        pulled_by=users(columns["pool"], columns["digest"], columns["source"]),
    )


def _layers(connection: sqlite3.Connection, image: int) -> tuple[ImageLayer, ...]:
    statement = "SELECT diff_id, volume, bytes FROM layer WHERE image = ? ORDER BY position"
    return tuple(ImageLayer(*row) for row in connection.execute(statement, (image,)))


def _fields(kind: type[PulledImage | FormerVersion], value: object) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
