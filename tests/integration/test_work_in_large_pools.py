# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an operation does once for all of a pool, and not more often: counted, not timed."""

from collections import Counter

import pytest

from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import file, image, layer
from tests.support.records import image_record, layer_record
from tests.support.service_parts import pulled
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.operations.services import Services


async def _change(services: Services, pool: Pool) -> None:
    """Change a record, so that the next list of records has to be a whole one."""
    async with services.claims.claimed(pool, []) as claim:
        await services.records.put(claim, image_record(name="other"))


async def test_pull_lists_all_records_once(
    services: Services, pool: Pool, registry: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    records = services.keeper.records

    def count(name: str) -> None:
        method = getattr(records, name)

        async def counted(*arguments: object) -> object:
            asked[name] += 1
            return await method(*arguments)

        monkeypatch.setattr(records, name, counted)

    layers = [layer(file(name, name.encode())) for name in ("base", "top")]
    source = registry.store(image(layers), "counted:1")
    await _change(services, pool)
    count("list")
    count("read")
    first = await pulled(services, source, pool.name)
    assert (first.layers_built, asked["list"]) == (2, 1)
    await _change(services, pool)
    asked.clear()
    again = await pulled(services, source, pool.name)
    assert (again.layers_built, asked) == (0, {"list": 1})


async def test_layer_that_was_deleted_until_it_was_claimed_is_not_known(
    services: Services, pool: Pool
) -> None:
    """Another host deletes one layer, and writes the record of another one."""
    gone, stays, new = (layer_record(text, text) for text in ("gone", "stays", "new"))
    directory = pool.path / ".virtlayer"
    async with services.claims.claimed(pool, []) as claim:
        for record in (gone, stays, new):
            await services.records.put(claim, record)
    content = (directory / record_file(RecordKind.LAYER, new.name)).read_bytes()
    (directory / record_file(RecordKind.LAYER, new.name)).unlink()
    await services.records.synchronize(pool)
    assert await services.catalog.layers.names(pool.name) == {gone.name, stays.name}
    (directory / record_file(RecordKind.LAYER, gone.name)).unlink()
    (directory / record_file(RecordKind.LAYER, new.name)).write_bytes(content)
    names = [record.name for record in (gone, stays, new)]
    async with services.claims.claimed(pool, names) as claim:
        await services.records.synchronize_layers(claim, names)
    assert await services.catalog.layers.names(pool.name) == {stays.name, new.name}
    (directory / record_file(RecordKind.LAYER, stays.name)).write_text("{")
    async with services.claims.claimed(pool, names) as claim:
        await services.records.synchronize_layers(claim, names)
    assert await services.catalog.layers.names(pool.name) == {new.name}
    assert [bad.file for bad in await services.catalog.records.bad(pool.name)] == [
        record_file(RecordKind.LAYER, stays.name)
    ]
