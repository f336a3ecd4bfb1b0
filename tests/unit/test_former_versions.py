# SPDX-License-Identifier: LGPL-2.1-or-later
"""The former versions of a name in the catalog, and a catalog from before there were any."""

import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from virtlayer.service.catalog.catalog import _MIGRATIONS, Catalog, ImageLayer, ImageRecord, Visit
from virtlayer.service.catalog.database import Database


def record(top: str, *, name: str = "demo") -> ImageRecord:
    return ImageRecord(
        pool="default",
        name=name,
        source="docker://registry.example/demo:1",
        digest=f"sha256:{top}",
        image_id=f"sha256:config-{top}",
        os="linux",
        architecture="amd64",
        variant="",
        config=f'{{"of": "{top}"}}',
        size=64,
        # Two layers in one volume, as in a deep chain's last.
        layers=(ImageLayer("a", "base", 1), ImageLayer("b", top, 1), ImageLayer("c", top, 1)),
        volume=top,
        pulled_at=1,
    )


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog.sqlite") as catalog:
        yield catalog


async def kept(catalog: Catalog) -> dict[str, bool]:
    return {version.volume: version.kept for version in await catalog.versions("default")}


async def test_what_an_image_was_becomes_a_version(catalog: Catalog) -> None:
    await catalog.put(record("one"))
    await catalog.put(record("two"))
    [version] = await catalog.versions("default")
    assert (version.name, version.digest, version.volume) == ("demo", "sha256:one", "one")
    assert version.volumes == ("base", "one")
    assert version.config == '{"of": "one"}'
    assert version.replaced_at > version.pulled_at
    assert not version.kept
    assert await catalog.versions("other") == ()


async def test_the_same_again_makes_no_version(catalog: Catalog) -> None:
    await catalog.put(record("one"), keep=3)
    await catalog.put(dataclasses.replace(record("one"), pulled_at=2), keep=3)
    assert await catalog.versions() == ()


async def test_as_many_versions_are_kept_as_told(catalog: Catalog) -> None:
    for top in ("one", "two", "three", "four"):
        await catalog.put(record(top), keep=2)
    assert await kept(catalog) == {"three": True, "two": True, "one": False}
    await catalog.put(record("four"), keep=0)
    assert await kept(catalog) == {"three": False, "two": False, "one": False}


async def test_a_pull_by_hand_keeps_what_is_kept(catalog: Catalog) -> None:
    await catalog.put(record("one"), keep=1)
    await catalog.put(record("two"), keep=1)
    await catalog.put(record("three"))
    assert await kept(catalog) == {"two": False, "one": True}


async def test_a_name_that_goes_back_has_itself_not_for_a_version(catalog: Catalog) -> None:
    for top in ("one", "two", "one"):
        await catalog.put(record(top), keep=5)
    assert await kept(catalog) == {"two": True}


async def test_a_version_goes_with_any_of_its_volumes(catalog: Catalog) -> None:
    for top in ("one", "two", "three"):
        await catalog.put(record(top), keep=5)
    await catalog.put(record("other", name="another"))
    await catalog.remove_volume("elsewhere", "one")
    assert await kept(catalog) == {"two": True, "one": True}
    await catalog.remove_volume("default", "one")
    assert await kept(catalog) == {"two": True}


async def test_no_version_of_a_removed_image_is_kept(catalog: Catalog) -> None:
    for top in ("one", "two"):
        await catalog.put(record(top), keep=5)
    await catalog.visited(Visit(pool="default", name="demo", at=7))
    assert await catalog.remove("default", "demo")
    assert await kept(catalog) == {"one": False}
    assert await catalog.visit("default", "demo") is None


async def test_the_last_visit_counts(catalog: Catalog) -> None:
    failed = Visit(pool="default", name="demo", at=7, error="Internal", message="It failed.")
    await catalog.visited(failed)
    assert await catalog.visit("default", "demo") == failed
    await catalog.visited(Visit(pool="default", name="demo", at=8))
    assert await catalog.visit("default", "demo") == Visit(pool="default", name="demo", at=8)


async def test_a_catalog_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"

    def insert(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO image VALUES (5, 'default', 'demo', 's', 'd', 'i', 'linux', 'amd64', '',"
            " '{}', 64, 'old', 1)"
        )
        connection.execute("INSERT INTO layer VALUES (5, 0, 'a', 'old', 1)")

    async with Database(path, _MIGRATIONS[:1]) as first:
        await first.run(insert)
    async with Catalog(path) as catalog:
        [image] = await catalog.list()
        assert (image.id, image.volume) == (5, "old")
        await catalog.put(record("new"), keep=1)
        assert await kept(catalog) == {"old": True}
