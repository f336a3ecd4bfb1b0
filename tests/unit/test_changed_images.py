# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalog tells which images have changed, whatever was written."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.records import forget, image_record, layer_record, remember, volume_record
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.records.former_versions import replaced

DEMO = image_record(pulled_by=frozenset({1000}))
OTHER = image_record("other", name="other")


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """A catalog with two images, of which nothing has changed since they were read."""
    async with Catalog(tmp_path / "catalog") as opened:
        await remember(opened, "default", DEMO, OTHER)
        assert await _changed(opened) == {"demo", "other"}
        yield opened


async def _changed(catalog: Catalog) -> set[str]:
    changed = await catalog.changed()
    assert not changed.gone
    return {image.name for image in changed.images}


async def test_all_images_are_read_first(tmp_path: Path, catalog: Catalog) -> None:
    assert await _changed(catalog) == set()
    await catalog.close()
    async with Catalog(tmp_path / "catalog") as again:
        assert await _changed(again) == {"demo", "other"}
        assert await _changed(again) == set()


async def test_image_that_was_pulled_again_has_changed(catalog: Catalog) -> None:
    new = replaced(DEMO, image_record("new"), frozenset(), 1)
    await remember(catalog, "default", new)
    changed = await catalog.changed()
    [image] = changed.images
    assert image.volume == new.volume
    assert [one.digest for one in changed.former[image.id]] == [DEMO.digest]
    await remember(catalog, "default", dataclasses.replace(new, former=()))
    changed = await catalog.changed()
    assert changed.former == {image.id: ()}


async def test_image_that_was_removed_is_gone(catalog: Catalog) -> None:
    [demo, _] = await catalog.list()
    await forget(catalog, "default", RecordKind.IMAGE, "demo")
    changed = await catalog.changed()
    assert changed.gone == {demo.id}
    assert not changed.images


async def test_image_changes_with_its_top_volume(catalog: Catalog) -> None:
    await remember(catalog, "default", layer_record("top", identity=True))
    assert await _changed(catalog) == {"demo"}
    await forget(catalog, "default", RecordKind.LAYER, DEMO.volume)
    assert await _changed(catalog) == {"demo"}


async def test_image_changes_with_the_users_who_pulled_it(catalog: Catalog) -> None:
    volume = volume_record(source=DEMO.source, digest=DEMO.digest, pulled_by=frozenset({1001}))
    await remember(catalog, "default", volume)
    [image] = (await catalog.changed()).images
    assert image.name == "demo"
    assert image.pulled_by == {1000, 1001}
    await forget(catalog, "default", volume.kind, volume.name)
    [image] = (await catalog.changed()).images
    assert image.pulled_by == {1000}


async def test_many_images_of_one_manifest_are_noted_once_each(catalog: Catalog) -> None:
    """Else, another host that writes many such records could keep the service busy for hours."""
    number = 50
    images = [image_record(name=f"image{one}", pulled_by=frozenset({1})) for one in range(number)]
    await remember(catalog, "default", *images)
    [(notes,)] = await catalog.run(
        lambda connection: connection.execute("SELECT count(*) FROM changed_image").fetchall()
    )
    assert notes <= 3 * number
    assert len(await _changed(catalog)) == number + 1
