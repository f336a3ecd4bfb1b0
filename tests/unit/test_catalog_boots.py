# SPDX-License-Identifier: LGPL-2.1-or-later
"""What images have to boot with, in the catalog."""

from pathlib import Path

from tests.support.records import boot_record, forget, layer_name, remember
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog


async def test_boot_record_is_replaced_and_forgotten(tmp_path: Path) -> None:
    async with Catalog(tmp_path / "catalog") as catalog:
        first, other = boot_record("top"), boot_record("other", os_id="")
        for record in (first, other):
            await remember(catalog, "default", record)
        await remember(catalog, "elsewhere", first)
        assert set(await catalog.boots.list("default")) == {first, other}
        changed = boot_record("top", has_init=False, kernels=())
        await remember(catalog, "default", changed)
        assert set(await catalog.boots.list("default")) == {changed, other}
        found, _ = await catalog.records.get("default", RecordKind.BOOT, layer_name("top"))
        assert found == changed
        await forget(catalog, "default", RecordKind.BOOT, layer_name("top"))
        assert await catalog.boots.list("default") == (other,)
        assert await catalog.boots.list("elsewhere") == (first,)
        await catalog.records.forget_pool("default")
        assert await catalog.boots.list("default") == ()


def test_boot_volumes_of_a_record() -> None:
    assert boot_record(kernels=()).boot_volumes == frozenset()
    assert boot_record().boot_volumes == {
        *(f"kernel-{'a' * 64}", f"initrd-{'b' * 64}", f"initrd-{'c' * 64}"),
    }
