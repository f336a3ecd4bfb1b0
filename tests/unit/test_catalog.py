# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalog: a copy of records that can be searched, in a file that may be deleted."""

import asyncio
import dataclasses
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.support.records import (
    config,
    digest,
    forget,
    image_record,
    layer_name,
    layer_record,
    remember,
    volume_record,
)
from virtlayer.errors import Internal, NoSpace
from virtlayer.protocol.records import RecordKind, Stamp, record_file
from virtlayer.service.catalog.catalog import Catalog, CatalogImage, Visit
from virtlayer.service.catalog.recorded import Bad, Gone, Seen
from virtlayer.service.records.former_versions import replaced
from virtlayer.service.records.owners import EVERYBODY
from virtlayer.service.records.values import PulledImage, Record

DEMO = image_record()
STAMP = Stamp(2**64 - 1, 2**63, 7)
RECORDS: tuple[Record, ...] = (
    replaced(
        image_record("old", pulled_by=frozenset({0, 1000})),
        image_record("new"),
        frozenset({EVERYBODY}),
        2,
        keep=1,
    ),
    layer_record("top", "a", "b", below="0" * 64, owners=[EVERYBODY]),
    layer_record("adopted"),
    volume_record(kind=RecordKind.VOLUME, pulled_by=frozenset({1})),
    volume_record(kind=RecordKind.DIRECTORY, id_base=100_000),
    volume_record(kind=RecordKind.DISK),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalog.sqlite"


@pytest.fixture
async def catalog(path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(path) as catalog:
        yield catalog


def fields_of(image: PulledImage) -> dict[str, object]:
    return {field.name: getattr(image, field.name) for field in dataclasses.fields(PulledImage)}


async def only_image(catalog: Catalog) -> CatalogImage:
    [image] = await catalog.list()
    return image


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
async def test_record_is_returned_as_stored(catalog: Catalog, record: Record) -> None:
    await catalog.records.put("default", [Seen(record, STAMP)])
    place = (record.kind, record.name)
    assert await catalog.records.get("default", *place) == (record, STAMP)
    assert await catalog.records.get("other", *place) == (None, None)
    assert await catalog.records.stamps("default") == {record_file(*place): STAMP}
    await catalog.records.put("default", [Gone(record_file(*place))])
    assert await catalog.records.get("default", *place) == (None, None)
    assert await catalog.records.stamps("default") == {}


async def test_nothing_is_left_of_records_that_are_deleted(path: Path, catalog: Catalog) -> None:
    for pool in ("default", "other"):
        await remember(catalog, pool, *RECORDS)
        await catalog.records.put(pool, [Bad("0" * 64 + ".json", STAMP, "it is garbage")])
    await catalog.records.put(
        "default", [Gone(file) for file in await catalog.records.stamps("default")]
    )
    await catalog.records.forget_pool("other")
    assert await catalog.records.pools() == frozenset()
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if not table.startswith("sqlite_"):
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == [], table  # noqa: S608
    connection.close()


async def test_image_has_the_fields_of_its_record(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    image = await only_image(catalog)
    assert image.id > 0
    assert image.pool == "default"
    assert fields_of(image) == fields_of(DEMO)
    assert await catalog.get("default", "demo") == image
    assert await catalog.get("default", "demo:2") is None
    assert await catalog.get("other", "demo") is None


@pytest.mark.parametrize("identity", [None, False, True])
async def test_image_has_the_identity_of_its_top_volume(
    catalog: Catalog, *, identity: bool | None
) -> None:
    await remember(catalog, "default", image_record("top"), layer_record("top", identity=identity))
    await remember(catalog, "other", image_record("top"), layer_record("top", identity=True))
    found = await catalog.get("default", "demo")
    assert found is not None
    assert found.identity is identity


async def test_config_is_found_by_its_digest(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    assert await catalog.config(DEMO.image_id) == DEMO.config
    assert await catalog.config(DEMO.image_id, "default") == DEMO.config
    assert await catalog.config(DEMO.image_id, "other") is None
    assert await catalog.config(DEMO.digest) is None


async def test_image_whose_record_changes_keeps_its_id(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    first = await only_image(catalog)
    newer = image_record("new")
    await remember(catalog, "default", newer)
    second = await only_image(catalog)
    assert second.id == first.id
    assert fields_of(second) == fields_of(newer)


async def test_an_id_is_never_given_twice(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    first = await only_image(catalog)
    await forget(catalog, "default", RecordKind.IMAGE, "demo")
    assert await catalog.list() == ()
    await remember(catalog, "default", DEMO)
    assert (await only_image(catalog)).id > first.id


async def test_images_are_listed_by_pool_and_name(catalog: Catalog) -> None:
    for pool, name in (("b", "x"), ("a", "y"), ("a", "x")):
        await remember(catalog, pool, dataclasses.replace(DEMO, name=name))
    assert [(image.pool, image.name) for image in await catalog.list()] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
    ]
    assert [image.name for image in await catalog.list("b")] == ["x"]
    assert await catalog.list("c") == ()


async def test_layers_are_known_without_an_image(catalog: Catalog) -> None:
    await remember(catalog, "default", layer_record("a"))
    await remember(catalog, "other", layer_record("b"))
    assert await catalog.layers.names("default") == {layer_name("a")}
    await forget(catalog, "default", RecordKind.LAYER, layer_name("a"))
    assert await catalog.layers.names("default") == frozenset()
    assert await catalog.layers.names("other") == {layer_name("b")}


async def test_layers_are_found_by_parent_and_diff_id(catalog: Catalog) -> None:
    on_base = layer_record("on base", "a", below="1" * 64)
    both = layer_record("both", "a", "b", below="1" * 64)
    await remember(catalog, "default", on_base, both, layer_record("elsewhere", "a"))
    assert await catalog.layers.find("default", "1" * 64, [digest("a")]) == (on_base,)
    wanted = [digest("a"), digest("b")]
    assert await catalog.layers.find("default", "1" * 64, wanted) == (both,)
    assert await catalog.layers.find("other", "1" * 64, [digest("a")]) == ()


async def test_blob_stays_confirmed_while_a_volume_is_built_from_it(catalog: Catalog) -> None:
    record = layer_record("a", "blob")
    blob = digest("blob")
    await remember(catalog, "default", record)
    await catalog.layers.confirm(blob, blob)
    await remember(catalog, "default", record)
    assert await catalog.layers.is_confirmed(blob, blob)
    await forget(catalog, "default", RecordKind.LAYER, record.name)
    assert not await catalog.layers.is_confirmed(blob, blob)


async def test_former_versions_are_listed_the_newest_first(catalog: Catalog) -> None:
    record = DEMO
    for number, top in enumerate(("one", "two")):
        record = replaced(record, image_record(top), frozenset(), number, keep=1)
    await remember(catalog, "default", record)
    versions = await catalog.versions("default")
    assert [(one.name, one.volume, one.kept) for one in versions] == [
        ("demo", layer_name("one"), True),
        ("demo", layer_name("top"), False),
    ]
    assert await catalog.versions("other") == ()


async def test_bad_record_takes_the_place_of_the_good_one(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    bad = Bad(record_file(RecordKind.IMAGE, "demo"), STAMP, "it is garbage")
    await catalog.records.put("default", [bad])
    assert await catalog.list() == ()
    assert await catalog.records.bad("default") == (bad,)
    assert await catalog.records.stamps("default") == {bad.file: STAMP}
    await remember(catalog, "default", DEMO)
    assert await catalog.records.bad("default") == ()
    assert (await only_image(catalog)).name == "demo"


async def test_the_last_visit_counts(catalog: Catalog) -> None:
    failed = Visit(pool="default", name="demo", at=7, error="Internal", message="It failed.")
    await catalog.visited(failed)
    assert await catalog.visit("default", "demo") == failed
    # It is about a configured image, whether the pool has it or not.
    await remember(catalog, "default", DEMO)
    await forget(catalog, "default", RecordKind.IMAGE, "demo")
    assert await catalog.visit("default", "demo") == failed
    await catalog.visited(Visit(pool="default", name="demo", at=8))
    assert await catalog.visit("default", "demo") == Visit(pool="default", name="demo", at=8)
    await catalog.forget_visit("default", "demo")
    assert await catalog.visit("default", "demo") is None


async def test_everything_is_there_after_opening_again(path: Path) -> None:
    async with Catalog(path) as catalog:
        await remember(catalog, "default", DEMO)
        before = await catalog.list()
    async with Catalog(path) as catalog:
        assert await catalog.list() == before


async def test_catalog_is_readable_for_its_owner_only(path: Path, catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_daemons_can_write_to_it(path: Path) -> None:
    async with Catalog(path) as one, Catalog(path) as other:
        names = [f"image-{number}" for number in range(20)]
        await asyncio.gather(
            *(
                remember((one, other)[number % 2], "default", dataclasses.replace(DEMO, name=name))
                for number, name in enumerate(names)
            )
        )
        assert sorted(image.name for image in await one.list()) == sorted(names)


async def test_a_change_that_fails_changes_nothing(catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    before = await catalog.list()
    broken = dataclasses.replace(DEMO, size=cast("int", "x"))  # the schema refuses it
    with pytest.raises(Internal):
        await remember(catalog, "default", broken)
    assert await catalog.list() == before


async def test_the_catalog_of_a_newer_virtlayer_is_left_alone(path: Path) -> None:
    async with Catalog(path) as catalog:
        await remember(catalog, "default", DEMO)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Internal, match="newer virtlayer"):
        await Catalog(path).open()


async def test_file_that_is_not_a_catalog_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Internal, match=str(path)):
        await Catalog(path).open()


async def test_a_full_disk_is_not_an_internal_error(path: Path, catalog: Catalog) -> None:
    await remember(catalog, "default", DEMO)
    # As many pages as it has now: what a full disk does, without one.
    assert catalog._connection is not None
    (pages,) = catalog._connection.execute("PRAGMA page_count").fetchone()
    catalog._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = dataclasses.replace(DEMO, name="large", config=config("x" * 1_000_000))
    with pytest.raises(NoSpace, match=str(path)):
        await remember(catalog, "default", large)
    assert [image.name for image in await catalog.list()] == ["demo"]
