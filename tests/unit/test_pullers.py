# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pullers in the records of images, former versions and other volumes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.records import forget, image_record, remember, volume_record
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.records.former_versions import replaced

DEMO = image_record(pulled_by=frozenset({1000}))
MOVED = replaced(DEMO, image_record("new", pulled_by=frozenset({1001})), frozenset(), 1)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog") as opened:
        yield opened


async def test_pullers_of_the_same_under_other_names_are_known(catalog: Catalog) -> None:
    other = image_record(name="other", pulled_by=frozenset({1001}))
    await remember(catalog, "default", DEMO, other)
    for image in await catalog.list():
        assert image.pulled_by == {1000, 1001}
    assert await catalog.pullers.of_digest("default", DEMO.digest) == {1000, 1001}
    assert await catalog.pullers.of_digest("other", DEMO.digest) == frozenset()


async def test_pullers_of_former_versions_and_volumes_are_known(catalog: Catalog) -> None:
    volume = volume_record(digest="sha256:" + "5" * 64, pulled_by=frozenset({1002}))
    await remember(catalog, "default", MOVED, volume)
    for digest, uid in ((DEMO.digest, 1000), (MOVED.digest, 1001), (volume.digest, 1002)):
        assert await catalog.pullers.of_digest("default", digest) == {uid}


async def test_pullers_are_deleted_with_their_image(catalog: Catalog) -> None:
    other = image_record("new", name="other", pulled_by=frozenset({1001}))
    await remember(catalog, "default", DEMO, other)
    await forget(catalog, "default", RecordKind.IMAGE, "demo")
    assert await catalog.pullers.of_digest("default", DEMO.digest) == frozenset()
    assert await catalog.pullers.of_digest("default", other.digest) == {1001}


async def test_users_of_many_images_of_one_manifest_are_read_once(catalog: Catalog) -> None:
    """Else, another host that writes many such records could keep the service busy for hours."""
    images = [
        image_record(name=f"image{number}", pulled_by=frozenset({1000})) for number in range(50)
    ]
    await remember(catalog, "default", *images)
    statements: list[str] = []
    await catalog.run(lambda connection: connection.set_trace_callback(statements.append))
    listed = await catalog.list()
    assert [image.pulled_by for image in listed] == [{1000}] * 50
    assert len([one for one in statements if "FROM puller" in one]) == 1
