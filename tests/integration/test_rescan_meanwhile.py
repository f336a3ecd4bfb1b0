# SPDX-License-Identifier: LGPL-2.1-or-later
"""A rescan during which a pull ends: the pulled image is not lost."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import file, image, layer
from tests.support.service_parts import pulled, pulled_disk, some_job
from virtlayer.protocol.names import parse_pool_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.operations.prune import PruneRequest, prune
from virtlayer.service.operations.rescan import Rescanned, RescanRequest, rescan
from virtlayer.service.operations.services import Services
from virtlayer.sizes import MIB


class Rescan:
    """A rescan that waits between its look at the pool and its comparison with the catalog."""

    def __init__(self, services: Services, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.services, self.pool = services, pool
        self.has_looked, self.go_on = asyncio.Event(), asyncio.Event()
        names = services.catalog.layers.names

        async def wait(pool: str) -> frozenset[str]:
            self.has_looked.set()
            await self.go_on.wait()
            return await names(pool)

        monkeypatch.setattr(services.catalog.layers, "names", wait)

    async def run(self) -> Rescanned:
        return await rescan(
            self.services, RescanRequest(pool=parse_pool_name(self.pool.name)), some_job()
        )

    async def while_ends[T](self, pull: asyncio.Task[T], end: Callable[[], None]) -> Rescanned:
        """Rescan, and let a pull go on meanwhile, as far as the lock of the pool lets it."""
        rescanning = asyncio.create_task(self.run())
        await self.has_looked.wait()
        end()
        await asyncio.wait([pull], timeout=1)
        assert not pull.done()
        self.go_on.set()
        rescanned = await rescanning
        await pull
        return rescanned


@pytest.mark.parametrize("volumes_before", [0, 1])
async def test_image_whose_pull_ends_meanwhile_stays(
    services: Services,
    pool: Pool,
    registry: FaultyRegistry,
    monkeypatch: pytest.MonkeyPatch,
    volumes_before: int,
) -> None:
    layers = [layer(file("a")), layer(file("b"))]
    source = registry.store(image(layers), "demo:1")
    late = layers[volumes_before].digest
    registry.faults[late] = Fault.HANG
    pull = asyncio.create_task(pulled(services, source, pool.name))
    await registry.asked_for(late)
    seen = await Rescan(services, pool, monkeypatch).while_ends(pull, registry.release)
    assert (seen.images_lost, seen.lost, seen.orphans) == ((), (), 0)

    result = await pull
    record = await services.catalog.get(pool.name, "demo:1")
    assert record is not None
    assert record.volume == result.volume
    assert await services.catalog.layers.names(pool.name) == set(result.volumes)
    freed = await prune(services, PruneRequest(pool=parse_pool_name(pool.name)), some_job())
    assert freed.volumes == ()
    # The next one sees what there is.
    assert await rescan(
        services, RescanRequest(pool=parse_pool_name(pool.name)), some_job()
    ) == Rescanned(found=(), lost=(), images_lost=(), orphans=0)


async def test_origin_of_a_disk_whose_pull_ends_meanwhile_stays(
    services: Services, pool: Pool, registry: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = layer(file("disk/disk.img", b"\x01" * MIB))
    source = registry.store(image([disk]), "disk:1")
    registry.faults[disk.digest] = Fault.HANG
    pull = asyncio.create_task(pulled_disk(services, source, pool.name, "guest"))
    await registry.asked_for(disk.digest)
    await Rescan(services, pool, monkeypatch).while_ends(pull, registry.release)
    origin = await services.catalog.volumes.get(pool.name, RecordKind.DISK, "guest")
    assert origin is not None
    assert origin.digest == (await pull).digest
