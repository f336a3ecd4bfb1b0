# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims, locks and records as the service uses them: cancelled, waiting, with a killed keeper."""

import asyncio
import os
import signal

import pytest

from tests.support.keeper import running_keeper
from tests.support.leftovers import children
from tests.support.libvirt_host import LibvirtHost
from virtlayer.errors import InUse, PoolUnavailable
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.keeper import claims
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.records import RecordChanged
from virtlayer.sizes import MIB

_KEY = "a" * 64


async def claimed(keeper: Keeper, pool: Pool) -> frozenset[str]:
    async with keeper.claims.locked(pool) as lock:
        return lock.claimed


def claim_files(pool: Pool) -> list[str]:
    return [path.name for path in (pool.path / ".virtlayer" / "claims").iterdir()]


async def test_a_claim_lasts_as_long_as_its_context(keeper: Keeper, pool: Pool) -> None:
    async with keeper.claims.claimed(pool, ["a"]) as claim:
        await claim.add(["b"])
        async with keeper.claims.claimed(pool, ["b", "c"]):
            assert await claimed(keeper, pool) == {"a", "b", "c"}
        assert await claimed(keeper, pool) == {"a", "b"}
    assert await claimed(keeper, pool) == frozenset()
    assert claim_files(pool) == []


async def test_a_layer_is_built_by_one_claim(keeper: Keeper, pool: Pool) -> None:
    async with keeper.claims.claimed(pool, []) as one, keeper.claims.claimed(pool, []) as other:
        assert await one.try_build([_KEY]) == frozenset()
        assert await other.try_build([_KEY, "b" * 64]) == {_KEY}


async def test_a_claim_waits_for_a_deletion(keeper: Keeper, pool: Pool) -> None:
    async def claim() -> None:
        async with keeper.claims.claimed(pool, ["a"]):
            pass

    async with keeper.claims.locked(pool):
        waiting = asyncio.create_task(claim())
        for _ in range(3):
            await keeper.records.list(pool)
        assert not waiting.done()
    await waiting


async def test_a_job_that_is_cancelled_while_it_waits_has_claimed_nothing(
    keeper: Keeper, pool: Pool
) -> None:
    async def claim() -> None:
        async with keeper.claims.claimed(pool, ["a"]):
            raise AssertionError("it was cancelled before")

    async with keeper.claims.locked(pool):
        waiting = asyncio.create_task(claim())
        await keeper.records.list(pool)
        waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await claimed(keeper, pool) == frozenset()
    assert claim_files(pool) == []


@pytest.mark.parametrize("turns", range(8))
async def test_a_job_that_is_cancelled_while_it_claims_has_claimed_nothing(
    keeper: Keeper, pool: Pool, turns: int
) -> None:
    async def claim() -> None:
        async with keeper.claims.claimed(pool, ["a"]):
            await asyncio.Event().wait()

    assert await claimed(keeper, pool) == frozenset()
    claiming = asyncio.create_task(claim())
    for _ in range(turns):
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    assert await claimed(keeper, pool) == frozenset()
    assert claim_files(pool) == []


async def test_a_pool_that_stays_locked_is_reported(
    keeper: Keeper, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_LOCK_SECONDS", 0.0)
    async with keeper.claims.locked(pool):
        with pytest.raises(InUse, match=r"lslocks.*has had the lock for") as raised:
            async with keeper.claims.claimed(pool, ["a"]):
                pass
    assert raised.value.name == "InUse"


async def test_a_claim_lasts_though_its_keeper_is_killed(
    host: LibvirtHost, keeper: Keeper, pool: Pool
) -> None:
    before = children()
    async with running_keeper(host.uri) as other:
        await other.pools.get(pool.name)
        [process] = children() - before
        async with other.claims.claimed(pool, ["a"]) as claim:
            os.kill(process, signal.SIGKILL)
            with pytest.raises(PoolUnavailable):
                await claim.add(["b"])
            assert await claimed(keeper, pool) == {"a"}
    assert await claimed(keeper, pool) == frozenset()


async def test_records_are_put_and_read(keeper: Keeper, pool: Pool) -> None:
    async with keeper.claims.claimed(pool, []) as claim:
        stamps = {}
        for number in range(5):
            name, content = f"image-{number}", f"{number}".encode() * 5 * MIB
            stamps[name] = await keeper.records.put(
                pool, RecordKind.IMAGE, name, content, expected=None, holder=claim
            )
        with pytest.raises(RecordChanged) as raised:
            await keeper.records.put(
                pool, RecordKind.IMAGE, "image-0", b"", expected=None, holder=claim
            )
        assert raised.value.stamp == stamps["image-0"]
    listed = {one.file: one.stamp for one in (await keeper.records.list(pool)).records}
    assert listed == {record_file(RecordKind.IMAGE, name): stamp for name, stamp in stamps.items()}
    # More than one answer holds, and one that does not exist.
    missing = record_file(RecordKind.IMAGE, "image-5")
    found = await keeper.records.read(pool, [*listed, missing])
    assert {file: record.stamp for file, record in found.items()} == listed
    for number, name in enumerate(stamps):
        record = found[record_file(RecordKind.IMAGE, name)]
        assert (record.content, record.problem) == (f"{number}".encode() * 5 * MIB, "")
    async with keeper.claims.locked(pool) as lock:
        for name, stamp in stamps.items():
            put = keeper.records.put(
                pool, RecordKind.IMAGE, name, None, expected=stamp, holder=lock
            )
            assert await put is None
    assert (await keeper.records.list(pool)).records == ()


async def test_all_pools_are_listed(keeper: Keeper, pool: Pool) -> None:
    [state] = [one for one in await keeper.pools.states() if one.name == pool.name]
    assert (state.uuid, state.kind, state.state) == (pool.uuid, "dir", "running")
