# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where volumes come from that stand on no other, as the catalog remembers it."""

import dataclasses
from pathlib import Path

from virtlayer.service.catalog.catalog import Catalog, Origin

_ORIGIN = Origin(
    pool="default",
    volume="web",
    inode=7,
    image="demo:1",
    source="docker://registry.example/demo:1",
    digest="sha256:1",
    config="{}",
)


async def test_an_origin_is_one_of_a_name_in_a_pool(tmp_path: Path) -> None:
    async with Catalog(tmp_path / "catalog") as catalog:
        await catalog.put_origin(_ORIGIN, pulled_by=1000)
        newer = dataclasses.replace(_ORIGIN, inode=8, image="demo:2")
        await catalog.put_origin(newer, pulled_by=1000)
        assert await catalog.origin("default", "web") == newer
        assert await catalog.origin("default", "other") is None
        assert await catalog.origin("other", "web") is None


async def test_origins_go_with_their_volumes(tmp_path: Path) -> None:
    async with Catalog(tmp_path / "catalog") as catalog:
        elsewhere = dataclasses.replace(_ORIGIN, pool="other")
        gone = dataclasses.replace(_ORIGIN, volume="gone")
        for one in (_ORIGIN, elsewhere, gone):
            await catalog.put_origin(one, pulled_by=1000)
        await catalog.keep_origins("default", ["web"])
        assert await catalog.origin("default", "web") == _ORIGIN
        assert await catalog.origin("default", "gone") is None
        assert await catalog.origin("other", "web") == elsewhere
