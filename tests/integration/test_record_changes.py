# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records that several services change at a time, and records of what does not exist."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.records import image_record, layer_record, volume_record
from tests.support.service_parts import service_parts, some_job
from tests.support.waiting import PATIENCE
from virtlayer.protocol.names import parse_pool_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.operations.prune import PruneRequest, prune
from virtlayer.service.operations.rescan import RescanRequest, rescan
from virtlayer.service.operations.services import Services
from virtlayer.service.records.former_versions import replaced
from virtlayer.service.records.values import ImageRecord

CHANGES = 10
KINDS = (RecordKind.VOLUME, RecordKind.DIRECTORY, RecordKind.DISK)


@pytest.fixture
async def two(
    host: LibvirtHost,
    pool: Pool,  # noqa: ARG001 -- it is made before, and deleted after
    tmp_path: Path,
) -> AsyncIterator[tuple[Services, Services]]:
    """Two services with catalogs and keepers of their own."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        service_parts(host, tmp_path / "one") as one,
        service_parts(host, tmp_path / "other") as other,
    ):
        yield one, other


def files_in(pool: Pool) -> set[str]:
    return {path.name for path in (pool.path / ".virtlayer").glob("*.json")}


async def pulled_by(services: Services, pool: Pool, uid: int) -> None:
    """Record that a user has pulled an image, as a pull does."""

    def change(before: ImageRecord | None) -> ImageRecord:
        return replaced(before, image_record(pulled_by=frozenset({uid})), frozenset(), 1)

    async with services.claims.claimed(pool, []) as claim:
        await services.records.change_image(claim, "demo", change)


async def test_no_change_of_another_service_is_lost(
    two: tuple[Services, Services], pool: Pool
) -> None:
    uids = range(2 * CHANGES)
    await asyncio.gather(*(pulled_by(two[uid % 2], pool, uid) for uid in uids))
    for services in two:
        await services.records.synchronize(pool)
        image = await services.catalog.get(pool.name, "demo")
        assert image is not None
        assert image.pulled_by == set(uids)


async def test_deletion_of_a_record_is_seen_by_the_other_service(
    two: tuple[Services, Services], pool: Pool
) -> None:
    one, other = two
    await pulled_by(one, pool, 0)
    await other.records.synchronize(pool)
    assert len(await other.catalog.list()) == 1
    async with other.claims.locked(pool) as lock:
        await other.records.delete(lock, RecordKind.IMAGE, "demo")
    # The change of the one is made again, on what there is.
    await pulled_by(one, pool, 1)
    image = await one.catalog.get(pool.name, "demo")
    assert image is not None
    assert image.pulled_by == {1}
    (pool.path / ".virtlayer" / record_file(RecordKind.IMAGE, "demo")).unlink()
    for services in two:
        await services.records.synchronize(pool)
        assert await services.catalog.list() == ()


async def test_change_after_a_sufficient_read_is_not_lost(
    two: tuple[Services, Services], pool: Pool
) -> None:
    one, other = two
    began = asyncio.get_running_loop().time()
    await one.records.synchronize(pool, since=began)
    await pulled_by(other, pool, 1)
    await one.records.synchronize(pool, since=began)
    assert await one.catalog.list() == ()
    await pulled_by(one, pool, 2)
    image = await one.catalog.get(pool.name, "demo")
    assert image is not None
    assert image.pulled_by == {1, 2}


async def test_pool_that_libvirt_has_again_is_read_again(
    two: tuple[Services, Services], pool: Pool
) -> None:
    one, _ = two
    began = asyncio.get_running_loop().time()
    await pulled_by(one, pool, 1)
    async with asyncio.timeout(PATIENCE):
        while (await one.keeper.records.list(pool)).stamp is None:
            await asyncio.sleep(0.05)
    await one.records.synchronize(pool)
    await one.records.forget(pool.name)
    assert await one.catalog.list() == ()
    await one.records.synchronize(pool, since=began)
    assert len(await one.catalog.list()) == 1


@pytest.mark.parametrize("operation", ["prune", "rescan"])
async def test_records_of_nothing_are_deleted_if_no_job_claims_them(
    two: tuple[Services, Services], pool: Pool, operation: str
) -> None:
    one, other = two
    records = (
        layer_record("killed", "a"),
        *(volume_record(f"a-{kind}", kind) for kind in KINDS),
    )
    claimed = layer_record("claimed", "a")

    async def run() -> None:
        name = parse_pool_name(pool.name)
        if operation == "prune":
            await prune(one, PruneRequest(pool=name), some_job())
        else:
            await rescan(one, RescanRequest(pool=name), some_job())

    async with other.claims.claimed(pool, [claimed.name]) as claim:
        for record in (*records, claimed):
            await other.records.put(claim, record)
        await run()
        assert files_in(pool) == {record_file(RecordKind.LAYER, claimed.name)}
    await run()
    assert files_in(pool) == set()
