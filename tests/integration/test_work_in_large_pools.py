# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an operation does once for all of a pool, and not more often: counted, not timed."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import file, image, layer
from tests.support.records import image_record, layer_record
from tests.support.service_parts import pulled, some_job
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.messages import Message
from virtlayer.protocol.names import parse_image_name, parse_pool_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.keeper import claims as claims_module
from virtlayer.service.operations.remove import RemoveRequest, remove
from virtlayer.service.operations.rescan import RescanRequest, rescan
from virtlayer.service.operations.services import Services


async def _change(services: Services, pool: Pool) -> None:
    """Change a record, so that the next list of records has to be a whole one."""
    async with services.claims.claimed(pool, []) as claim:
        await services.records.put(claim, image_record(name="other"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[Message]:
    """The messages to the keeper, counted."""
    counted: Counter[Message] = Counter()
    ask = Connection.ask_with

    async def count(connection: Connection, call: Any, *arguments: Any) -> Any:
        counted[call.message] += 1
        return await ask(connection, call, *arguments)

    monkeypatch.setattr(Connection, "ask_with", count)
    return counted


async def test_pull_lists_all_records_once(
    services: Services, pool: Pool, registry: FaultyRegistry, asked: Counter[Message]
) -> None:
    layers = [layer(file(name, name.encode())) for name in ("base", "top")]
    source = registry.store(image(layers), "counted:1")
    await _change(services, pool)
    asked.clear()
    first = await pulled(services, source, pool.name)
    assert (first.layers_built, first.layers_reused) == (2, 0)
    assert (asked[Message.LIST_RECORDS], asked[Message.REGISTER]) == (1, 1)
    await _change(services, pool)
    asked.clear()
    again = await pulled(services, source, pool.name)
    assert (again.layers_built, again.layers_reused) == (0, 2)
    assert (asked[Message.LIST_RECORDS], asked[Message.READ_RECORDS]) == (1, 0)


async def test_removal_looks_at_the_pool_once(
    services: Services, pool: Pool, registry: FaultyRegistry, asked: Counter[Message]
) -> None:
    layers = [layer(file(name, name.encode())) for name in ("base", "top")]
    source = registry.store(image(layers), "counted:1")
    name = parse_image_name((await pulled(services, source, pool.name)).name)
    asked.clear()
    request = RemoveRequest(pool=parse_pool_name(pool.name), image=name)
    freed = await remove(services, request, some_job())
    assert len(freed.volumes) == 2
    # Each of these is about all volumes or all records.
    of_all = (Message.LIST_RECORDS, Message.USERS, Message.DELETE)
    assert {message: asked[message] for message in of_all} == dict.fromkeys(of_all, 1)
    assert asked[Message.READ_RECORDS] == asked[Message.FIND_VOLUMES] == 0


class _Claimed(frozenset[str]):
    """What is claimed, which counts how often it is combined with all layers of the pool."""

    unions = 0

    def union(self, *others: Iterable[object]) -> frozenset[Any]:
        _Claimed.unions += 1
        return super().union(*others)


async def test_rescan_combines_all_layers_with_the_claimed_ones_once(
    services: Services, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CountingLock(claims_module.PoolLock):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.claimed = _Claimed(self.claimed)

    names = tuple(f"image-{number}" for number in range(5))
    async with services.claims.claimed(pool, []) as claim:
        for name in names:
            await services.records.put(claim, image_record(name=name))
    monkeypatch.setattr(claims_module, "PoolLock", CountingLock)
    found = await rescan(services, RescanRequest(pool=parse_pool_name(pool.name)), some_job())
    assert (found.images_lost, _Claimed.unions) == (names, 1)


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
