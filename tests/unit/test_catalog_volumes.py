# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes, directories and disks that were made of images, in the catalog."""

from pathlib import Path

from tests.support.records import forget, remember, volume_record
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog


async def test_volume_is_one_of_a_kind_and_name_in_a_pool(tmp_path: Path) -> None:
    async with Catalog(tmp_path / "catalog") as catalog:
        await remember(catalog, "default", volume_record(kind=RecordKind.VOLUME))
        await remember(catalog, "default", volume_record(kind=RecordKind.DISK, image="other"))
        await remember(catalog, "other", volume_record("db", RecordKind.DIRECTORY, id_base=1))
        listed = await catalog.volumes.list("default")
        assert [(one.name, one.kind, one.image) for one in listed] == [
            ("web", RecordKind.DISK, "other"),
            ("web", RecordKind.VOLUME, "demo"),
        ]
        [directory] = await catalog.volumes.list("other")
        assert (directory.id_base, directory.top, directory.inode) == (1, None, None)
        assert await catalog.volumes.get("other", RecordKind.DIRECTORY, "db") == directory
        assert await catalog.volumes.get("other", RecordKind.DISK, "db") is None
        await forget(catalog, "default", RecordKind.DISK, "web")
        assert [one.kind for one in await catalog.volumes.list("default")] == [RecordKind.VOLUME]


async def test_inode_is_that_of_the_first_look(tmp_path: Path) -> None:
    async with Catalog(tmp_path / "catalog") as catalog:
        await remember(catalog, "default", volume_record())

        async def inode() -> int | None:
            [volume] = await catalog.volumes.list("default")
            return volume.inode

        for seen in (2**64 - 1, 7):
            await catalog.volumes.note_inodes("default", {"web": seen, "unknown": 1})
            assert await inode() == 2**64 - 1
        # A new record is about a new volume, or about a copy.
        await remember(catalog, "default", volume_record())
        assert await inode() is None
