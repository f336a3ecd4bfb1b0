# SPDX-License-Identifier: LGPL-2.1-or-later
"""A catalog from before pools had records: what it knows are records that are not written yet."""

import sqlite3
from pathlib import Path

from tests.support.records import config, digest, layer_name
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.catalog.database import Database
from virtlayer.service.catalog.schema import MIGRATIONS
from virtlayer.service.records.owners import EVERYBODY
from virtlayer.service.records.values import ImageRecord, LayerRecord, VolumeRecord

SOURCE = "docker://x/demo:1"
OLD = layer_name("old")
BASE = layer_name("base")


def fill(connection: sqlite3.Connection) -> None:
    """A catalog of version 8 after a few pulls."""
    image = ("default", "demo", SOURCE, digest("m"), digest(config("top")))
    platform = ("linux", "arm64", "v8", config("top"), 64, BASE, 7)
    rows: dict[str, list[tuple[object, ...]]] = {
        "image": [(5, *image, *platform, "scope", 0)],
        "layer": [(5, 0, digest("a"), BASE, 1)],
        "volume": [("default", BASE, ""), ("default", OLD, ""), ("other", OLD, "")],
        "built_layer": [("default", BASE, 0, digest("a"), digest("b"), 9)],
        "version": [(1, "default", "demo", SOURCE, digest("o"), config(), OLD, 3, 4, 1)],
        "version_volume": [(1, 0, OLD)],
        "origin": [
            ("default", "web", 77, "demo", SOURCE, digest("m"), config(), None),
            ("default", "box", 78, "demo", SOURCE, digest("m"), config(), 1000),
        ],
        "puller": [
            ("default", digest("m"), SOURCE, 1000),
            ("default", digest("o"), SOURCE, 1001),
        ],
        "owner": [(digest("b"), "everybody", ""), (digest(config("top")), "everybody", "")],
    }
    for table, values in rows.items():
        places = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({places})", values)  # noqa: S608 -- ours


async def test_entries_of_an_older_catalog_are_unwritten(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    async with Database(path, MIGRATIONS[:8]) as old:
        await old.run(fill)
    async with Catalog(path) as catalog:
        unwritten = await catalog.records.unwritten("default")
        found = {(record.kind, record.name): record for record in unwritten}
        image = found[RecordKind.IMAGE, "demo"]
        assert isinstance(image, ImageRecord)
        assert (image.volume, image.policy_scope, image.unsigned_accepted) == (BASE, "scope", False)
        assert image.owners == {EVERYBODY}
        assert image.pulled_by == {1000}
        [version] = image.former
        assert (version.volume, version.volumes, version.kept) == (OLD, (OLD,), True)
        assert version.pulled_by == {1001}
        layer = found[RecordKind.LAYER, BASE]
        assert isinstance(layer, LayerRecord)
        assert [(one.blob, one.owners) for one in layer.layers] == [
            (digest("b"), frozenset({EVERYBODY}))
        ]
        assert found[RecordKind.LAYER, OLD] == LayerRecord(name=OLD)
        directory = found[RecordKind.DIRECTORY, "box"]
        assert isinstance(directory, VolumeRecord)
        assert directory.id_base == 1000
        assert directory.pulled_by == {1000}
        assert found[RecordKind.DISK, "web"].name == "web"
        assert len(found) == 5
        # They have no files.
        assert await catalog.records.stamps("default") == {}
        # Until then, the images are listed as before.
        [listed] = await catalog.list()
        assert listed.id == 5
        assert listed.pulled_by == {1000}
        [disk] = [one for one in await catalog.volumes.list("default") if one.name == "web"]
        assert disk.inode == 77
        await catalog.records.forget_unwritten("default")
        assert await catalog.list() == ()
        assert await catalog.records.pools() == {"other"}


async def test_a_catalog_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"

    def insert(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO image VALUES (5, 'default', 'demo', 's', 'd', 'i', 'linux', 'amd64', '',"
            " '{}', 64, 'old', 1)"
        )
        connection.execute("INSERT INTO layer VALUES (5, 0, 'a', 'old', 1)")

    async with Database(path, MIGRATIONS[:1]) as first:
        await first.run(insert)
    async with Catalog(path) as catalog:
        [image] = await catalog.list()
        assert (image.id, image.volume) == (5, "old")
