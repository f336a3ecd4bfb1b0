# SPDX-License-Identifier: LGPL-2.1-or-later
"""An SQLite file: every change is a transaction, and old versions are migrated."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from virtlayer.errors import Internal, NoSpace, VirtlayerError

_BUSY_SECONDS = 10.0


class Database:
    """An SQLite file, used from threads, one statement after the other.

    Args:
        path: The file; created with its directory if it is missing.
        migrations: Script n migrates a file of version n to version n + 1. Released scripts are
            never changed.
        preparation: Statements for the new connection, such as of temporary tables.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], preparation: Sequence[str] = ()
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._preparation = preparation
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Open the file, and migrate it to the version of this program.

        Raises:
            Internal: It is not a catalog, or belongs to a newer virtlayer.
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

    async def run[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a transaction of its own, in a thread.

        Raises:
            Internal: The file cannot be used; nothing of the transaction is in it.
            NoSpace: The disk is full; nothing of the transaction is in the file.
        """
        return await asyncio.to_thread(self._in_transaction, function)

    def _in_transaction[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._failures():
            assert self._connection is not None, "the catalog is not open"
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
                # A power failure may lose the last changes, but not the file: they are also in the
                # pools, or can be downloaded again.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                with _transaction(connection):
                    self._migrate(connection)
                    for statement in self._preparation:
                        connection.execute(statement)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        newest = len(self._migrations)
        if version > newest:
            raise Internal(
                f"The catalog {self._path} has version {version} of a newer virtlayer; this one "
                f"supports {newest}. Install the newer virtlayer, or delete the file."
            )
        for script in self._migrations[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")

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
            return NoSpace(f"No space is left for the catalog {self._path}. Free some space.")
        return Internal(
            f"The catalog {self._path} cannot be used: {error}. If it is damaged, delete it: "
            "it is made again from the records in the pools."
        )


def where(**values: str | None) -> str:
    """Return the condition that columns have values; None stands for any value.

    Only the columns with a value are compared: SQLite uses no index for
    ``:name IS NULL OR name = :name``, and would read every row for one.

    Args:
        values: The values by the names of the columns; the placeholders have the same names.
    """
    compared = [f"{column} = :{column}" for column, value in values.items() if value is not None]
    return f"WHERE {' AND '.join(compared)}" if compared else ""


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # After some errors, such as a full disk, SQLite has already rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
