# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalog: what it keeps, what it refuses, and what another process sees of it."""

import asyncio
import dataclasses
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from virtlayer.errors import Internal, NoSpace
from virtlayer.service.catalog.catalog import Catalog, ImageLayer, ImageRecord

DEMO = ImageRecord(
    pool="default",
    name="demo:1",
    source="docker://registry.example/demo:1",
    digest="sha256:" + "1" * 64,
    image_id="sha256:" + "2" * 64,
    os="linux",
    architecture="arm64",
    variant="v8",
    config='{"os": "linux", "config": {"Env": ["GREETING=grüß"]}}',
    size=16 * 1024**3,
    layers=(ImageLayer("sha256:" + "3" * 64, "layer-a", 10), ImageLayer("sha256:b", "layer-b", 0)),
    volume="layer-b",
    pulled_at=1_795_000_000_000_000,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalog.sqlite"


@pytest.fixture
async def catalog(path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(path) as catalog:
        yield catalog


async def test_an_image_comes_back_as_it_was_put(catalog: Catalog) -> None:
    put = await catalog.put(DEMO)
    assert put.id > 0
    assert put == dataclasses.replace(DEMO, id=put.id)
    assert await catalog.get("default", "demo:1") == put
    assert await catalog.get("default", "demo:2") is None
    assert await catalog.get("other", "demo:1") is None


async def test_a_config_is_found_by_its_digest(catalog: Catalog) -> None:
    await catalog.put(DEMO)
    assert await catalog.config(DEMO.image_id) == DEMO.config
    assert await catalog.config(DEMO.digest) is None


async def test_an_image_that_is_put_again_keeps_its_id(catalog: Catalog) -> None:
    first = await catalog.put(DEMO)
    newer = dataclasses.replace(DEMO, digest="sha256:new", layers=DEMO.layers[:1], volume="layer-a")
    second = await catalog.put(newer)
    assert second.id == first.id
    assert await catalog.list() == (second,)


async def test_an_id_is_never_given_twice(catalog: Catalog) -> None:
    first = await catalog.put(DEMO)
    assert await catalog.remove("default", "demo:1")
    assert (await catalog.put(DEMO)).id > first.id


async def test_images_are_listed_by_pool_and_name(catalog: Catalog) -> None:
    for pool, name in (("b", "x"), ("a", "y"), ("a", "x")):
        await catalog.put(dataclasses.replace(DEMO, pool=pool, name=name))
    assert [(image.pool, image.name) for image in await catalog.list()] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
    ]
    assert [image.name for image in await catalog.list("b")] == ["x"]
    assert await catalog.list("c") == ()


async def test_removing_says_whether_there_was_one(catalog: Catalog) -> None:
    await catalog.put(DEMO)
    assert await catalog.remove("default", "demo:1")
    assert not await catalog.remove("default", "demo:1")
    assert await catalog.list() == ()


async def test_layer_volumes_are_known_without_an_image(catalog: Catalog) -> None:
    await catalog.add_volume("default", "layer-a")
    await catalog.add_volume("default", "layer-a")
    await catalog.add_volume("other", "layer-b")
    assert await catalog.volumes("default") == {"layer-a"}
    await catalog.remove_volume("default", "layer-a")
    assert await catalog.volumes("default") == frozenset()
    assert await catalog.volumes("other") == {"layer-b"}


async def test_everything_is_there_after_opening_again(path: Path) -> None:
    async with Catalog(path) as catalog:
        put = await catalog.put(DEMO)
    async with Catalog(path) as catalog:
        assert await catalog.list() == (put,)


async def test_nobody_else_can_read_it(path: Path, catalog: Catalog) -> None:
    await catalog.put(DEMO)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_daemons_can_write_to_it(path: Path) -> None:
    async with Catalog(path) as one, Catalog(path) as other:
        names = [f"image-{number}" for number in range(20)]
        await asyncio.gather(
            *(
                (one, other)[number % 2].put(dataclasses.replace(DEMO, name=name))
                for number, name in enumerate(names)
            )
        )
        assert sorted(image.name for image in await one.list()) == sorted(names)


async def test_a_change_that_fails_changes_nothing(catalog: Catalog) -> None:
    put = await catalog.put(DEMO)
    wrong = ImageLayer("d", "v", cast("int", "x"))  # the schema refuses it
    broken = dataclasses.replace(DEMO, digest="new", layers=(wrong,))
    with pytest.raises(Internal):
        await catalog.put(broken)
    assert await catalog.list() == (put,)


async def test_the_catalog_of_a_newer_virtlayer_is_left_alone(path: Path) -> None:
    async with Catalog(path) as catalog:
        await catalog.put(DEMO)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Internal, match="newer virtlayer"):
        await Catalog(path).open()


async def test_a_file_that_is_no_catalog_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Internal, match=str(path)):
        await Catalog(path).open()


async def test_a_full_disk_is_no_defect(path: Path, catalog: Catalog) -> None:
    await catalog.put(DEMO)
    # As many pages as it has now: what a full disk does, without one.
    assert catalog._connection is not None
    (pages,) = catalog._connection.execute("PRAGMA page_count").fetchone()
    catalog._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NoSpace, match=str(path)):
        await catalog.put(dataclasses.replace(DEMO, name="large", config="x" * 1_000_000))
    assert [image.name for image in await catalog.list()] == ["demo:1"]
