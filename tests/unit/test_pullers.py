# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who pulled what: kept with images, former versions and volumes without a chain."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from virtlayer.service.catalog.catalog import Catalog, ImageLayer, ImageRecord, Origin

DEMO = ImageRecord(
    pool="default",
    name="demo",
    source="docker://registry.example/demo:1",
    digest="sha256:1",
    image_id="sha256:2",
    os="linux",
    architecture="amd64",
    variant="",
    config="{}",
    size=1 << 26,
    layers=(ImageLayer("sha256:3", "layer-1.qcow2", 5),),
    volume="layer-1.qcow2",
    pulled_at=1,
    pulled_by=frozenset({1000}),
)
MOVED = dataclasses.replace(
    DEMO,
    digest="sha256:9",
    layers=(ImageLayer("sha256:4", "layer-2.qcow2", 5),),
    volume="layer-2.qcow2",
    pulled_by=frozenset({1001}),
)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog") as opened:
        yield opened


async def test_everybody_who_pulls_the_same_is_recorded(catalog: Catalog) -> None:
    await catalog.put(DEMO)
    both = await catalog.put(dataclasses.replace(DEMO, pulled_by=frozenset({1001})))
    assert both.pulled_by == {1000, 1001}
    assert await catalog.get("default", "demo") == both
    assert await catalog.pullers.of_digest("default", DEMO.digest) == {1000, 1001}
    assert await catalog.pullers.of_digest("other", DEMO.digest) == frozenset()


@pytest.mark.parametrize("change", ["digest", "source"])
async def test_another_version_or_source_has_other_pullers(catalog: Catalog, change: str) -> None:
    await catalog.put(DEMO)
    changed = (
        MOVED
        if change == "digest"
        else dataclasses.replace(DEMO, source="docker://other/demo:1", pulled_by=frozenset({1001}))
    )
    assert (await catalog.put(changed)).pulled_by == {1001}


async def test_pullers_of_former_versions_and_plain_volumes_are_known(catalog: Catalog) -> None:
    await catalog.put(DEMO)
    await catalog.put(MOVED)
    origin = Origin(
        pool="default",
        volume="web",
        inode=7,
        image="demo",
        source=DEMO.source,
        digest="sha256:5",
        config="{}",
    )
    await catalog.put_origin(origin, pulled_by=1002)
    for digest, uid in ((DEMO.digest, 1000), (MOVED.digest, 1001), (origin.digest, 1002)):
        assert await catalog.pullers.of_digest("default", digest) == {uid}


async def test_pullers_are_forgotten_with_what_they_pulled(catalog: Catalog) -> None:
    await catalog.put(DEMO)
    other = dataclasses.replace(MOVED, name="other")
    await catalog.put(other)
    await catalog.remove("default", "demo")
    assert await catalog.pullers.of_digest("default", DEMO.digest) == frozenset()
    assert await catalog.pullers.of_digest("default", other.digest) == {1001}
