# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which image is which chain of volumes: an SQLite file in the state directory.

libvirt keeps no metadata with a volume, and a pool may be shared, so the catalogue is this
daemon's own memory. Everything in it can be found out again from the pools and the registries.
"""

import asyncio
import contextlib
import dataclasses
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from virtlayer.errors import Internal, NoSpace, VirtlayerError

_MIGRATIONS = (
    """
    CREATE TABLE image (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        pool         TEXT NOT NULL,
        name         TEXT NOT NULL,
        source       TEXT NOT NULL,
        digest       TEXT NOT NULL,
        image_id     TEXT NOT NULL,
        os           TEXT NOT NULL,
        architecture TEXT NOT NULL,
        variant      TEXT NOT NULL,
        config       TEXT NOT NULL,
        size         INTEGER NOT NULL,
        volume       TEXT NOT NULL,
        pulled_at    INTEGER NOT NULL,
        UNIQUE (pool, name)
    ) STRICT;
    CREATE TABLE layer (
        image    INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL,
        volume   TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        PRIMARY KEY (image, position)
    ) STRICT;
    CREATE TABLE volume (
        pool TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
)
"""Statement n brings a catalogue of version n to version n + 1; those that were released stay."""

_BUSY_SECONDS = 10.0


class ImageLayer(NamedTuple):
    """One layer of an image.

    Attributes:
        diff_id: The digest of its uncompressed archive.
        volume: The name of the volume that it is in.
        bytes: The size of its blob.
    """

    diff_id: str
    volume: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image that a pool has.

    Attributes:
        id: Given by the catalogue; an image that is pulled again under its name keeps it, and no
            other image ever gets it. 0 in a record that is still to be put.
        pool: The name of the pool.
        name: The name of the image in that pool.
        source: The reference that it was pulled by.
        digest: Of its manifest.
        image_id: Of its config.
        os: As the config says.
        architecture: As the config says.
        variant: Of the architecture; "" if none.
        config: The config's JSON text.
        size: The virtual size of the volumes, in bytes.
        layers: Base first.
        volume: The name of the top volume.
        pulled_at: Microseconds since 1970.
    """

    id: int = 0
    pool: str
    name: str
    source: str
    digest: str
    image_id: str
    os: str
    architecture: str
    variant: str
    config: str
    size: int
    layers: tuple[ImageLayer, ...]
    volume: str
    pulled_at: int


_COLUMNS = tuple(
    column.name for column in dataclasses.fields(ImageRecord) if column.name not in ("id", "layers")
)


class Catalog:
    """The catalogue in one file; every change is a transaction.

    Args:
        path: The file; made, with its directory, when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Open the file, and bring it to the version that this program knows.

        Raises:
            Internal: It is no catalogue, or one of a newer virtlayer.
            NoSpace: The disk is full.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Close the file; nothing happens if it is not open."""
        await asyncio.to_thread(self._close)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def put(self, record: ImageRecord) -> ImageRecord:
        """Record an image, in the place of one of the same name in the same pool.

        Returns:
            The record with its id.
        """
        return await self._run(lambda connection: _put(connection, record))

    async def get(self, pool: str, name: str) -> ImageRecord | None:
        """The image of that name in that pool."""
        found = await self._run(
            lambda connection: _select(connection, "WHERE pool = ? AND name = ?", (pool, name))
        )
        return found[0] if found else None

    async def list(self, pool: str | None = None) -> tuple[ImageRecord, ...]:
        """The images of a pool, or of all, by pool and name."""
        where, values = ("", ()) if pool is None else ("WHERE pool = ?", (pool,))
        return await self._run(lambda connection: _select(connection, where, values))

    async def remove(self, pool: str, name: str) -> bool:
        """Forget an image; False if there was none."""
        statement = "DELETE FROM image WHERE pool = ? AND name = ?"
        return await self._run(
            lambda connection: connection.execute(statement, (pool, name)).rowcount > 0
        )

    async def add_volume(self, pool: str, name: str) -> None:
        """Record a layer volume that is ours, also when no image has it yet."""
        statement = "INSERT OR IGNORE INTO volume (pool, name) VALUES (?, ?)"
        await self._run(lambda connection: connection.execute(statement, (pool, name)))

    async def volumes(self, pool: str) -> frozenset[str]:
        """The names of the layer volumes in a pool that are ours."""
        statement = "SELECT name FROM volume WHERE pool = ?"
        return await self._run(
            lambda connection: frozenset(name for (name,) in connection.execute(statement, (pool,)))
        )

    async def remove_volume(self, pool: str, name: str) -> None:
        """Forget a layer volume."""
        statement = "DELETE FROM volume WHERE pool = ? AND name = ?"
        await self._run(lambda connection: connection.execute(statement, (pool, name)))

    async def _run[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._in_transaction, function)

    def _in_transaction[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._failures():
            assert self._connection is not None, "the catalogue is not open"
            with _transaction(self._connection):
                return function(self._connection)

    def _open(self) -> None:
        with self._lock, self._failures():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its journal files the mode of this one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, autocommit=True, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA foreign_keys = ON")
                with _transaction(connection):
                    _migrate(connection, self._path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error, full=_is_full(error)) from error
        except OSError as error:
            raise self._failure(error, full=False) from error

    def _failure(self, error: Exception, *, full: bool) -> VirtlayerError:
        if full:
            return NoSpace(f"There is no space left for the catalogue {self._path}. Free some.")
        return Internal(
            f"The catalogue {self._path} cannot be used: {error}. "
            "If it is damaged, move it away: it can be made again from the pools."
        )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # SQLite has rolled back already after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        raise Internal(
            f"The catalogue {path} has version {version}, made by a newer virtlayer; this one "
            f"knows {len(_MIGRATIONS)}. Install the newer one again, or move the file away."
        )
    for script in _MIGRATIONS[version:]:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _put(connection: sqlite3.Connection, record: ImageRecord) -> ImageRecord:
    columns = ", ".join(_COLUMNS)
    places = ", ".join("?" * len(_COLUMNS))
    update = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
    (number,) = connection.execute(
        f"INSERT INTO image ({columns}) VALUES ({places}) "  # noqa: S608 -- names from our own class
        f"ON CONFLICT (pool, name) DO UPDATE SET {update} RETURNING id",
        [getattr(record, column) for column in _COLUMNS],
    ).fetchone()
    connection.execute("DELETE FROM layer WHERE image = ?", (number,))
    connection.executemany(
        "INSERT INTO layer (image, position, diff_id, volume, bytes) VALUES (?, ?, ?, ?, ?)",
        [(number, position, *layer) for position, layer in enumerate(record.layers)],
    )
    return dataclasses.replace(record, id=number)


def _select(
    connection: sqlite3.Connection, where: str, values: tuple[str, ...]
) -> tuple[ImageRecord, ...]:
    statement = f"SELECT id, {', '.join(_COLUMNS)} FROM image {where} ORDER BY pool, name"  # noqa: S608 -- ours
    return tuple(
        ImageRecord(
            **dict(zip(("id", *_COLUMNS), row, strict=True)), layers=_layers(connection, row[0])
        )
        for row in connection.execute(statement, values).fetchall()
    )


def _layers(connection: sqlite3.Connection, image: int) -> tuple[ImageLayer, ...]:
    statement = "SELECT diff_id, volume, bytes FROM layer WHERE image = ? ORDER BY position"
    return tuple(ImageLayer(*row) for row in connection.execute(statement, (image,)))


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
