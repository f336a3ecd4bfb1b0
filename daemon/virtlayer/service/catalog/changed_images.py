# SPDX-License-Identifier: LGPL-2.1-or-later
"""Notes which images change in the catalog, so that only those are read again.

Temporary triggers make the notes, in the transaction of the change. So no change can be missed,
whatever causes it. An image also changes with what is shown of it from other tables: its former
versions, the users who pulled it, and its top volume.
"""

import sqlite3

_ID = "changed_image (id)"
_PULLED = "changed_puller (pool, digest, source)"


def _trigger(table: str, event: str, note: str, values: str) -> str:
    row = "old" if event == "DELETE" else "new"
    return (
        f"CREATE TEMPORARY TRIGGER {table}_{event.lower()} AFTER {event} ON main.{table}"
        f" BEGIN INSERT INTO {note} {values.format(row)}; END"
    )


PREPARATION = (
    "CREATE TEMPORARY TABLE changed_image (id INTEGER NOT NULL) STRICT",
    # Not the images: each of many records about one manifest would note all of these images.
    "CREATE TEMPORARY TABLE changed_puller (pool TEXT, digest TEXT, source TEXT) STRICT",
    # Nothing has been read yet.
    "INSERT INTO changed_image (id) SELECT id FROM image",
    *(_trigger("image", event, _ID, "VALUES ({0}.id)") for event in ("INSERT", "UPDATE", "DELETE")),
    *(
        _trigger(
            *("version", event, _ID),
            "SELECT id FROM image WHERE pool = {0}.pool AND name = {0}.name",
        )
        for event in ("INSERT", "DELETE")
    ),
    *(
        _trigger("puller", event, _PULLED, "VALUES ({0}.pool, {0}.digest, {0}.source)")
        for event in ("INSERT", "DELETE")
    ),
    *(
        _trigger(
            *("volume", event, _ID),
            "SELECT id FROM image WHERE pool = {0}.pool AND volume = {0}.name",
        )
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
)
"""Statements for a new connection to the catalog."""


def take(connection: sqlite3.Connection) -> frozenset[int]:
    """Return the ids of the images that have changed since the last call, and forget them."""
    pulled = connection.execute(
        "SELECT id FROM (SELECT DISTINCT pool, digest, source FROM changed_puller) AS changed"
        " CROSS JOIN image USING (pool, digest, source)"
    ).fetchall()
    connection.execute("DELETE FROM changed_puller")
    noted = connection.execute("DELETE FROM changed_image RETURNING id").fetchall()
    return frozenset(number for (number,) in (*pulled, *noted))
