# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims, the lock and records of an RBD pool, asked of its process as the keeper does."""

import asyncio
import contextlib
import os
import signal

import pytest

from tests.support.ceph import CephPool
from tests.support.rbd_process import RbdProcess, rbd_process, sealed
from tests.support.waiting import PATIENCE
from virtlayer.errors import Internal, PoolUnavailable
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.records import RecordPut, Stamp
from virtlayer.rbd.table import PoolTable


@pytest.fixture
def new_pool(shared_pool: CephPool, table: PoolTable) -> CephPool:
    """The pool, whose table is empty."""
    assert not table.is_used()
    return shared_pool


KEY = "a" * 64
FILE = "0" * 64 + ".json"


async def new_claim(process: RbdProcess, *names: str) -> tuple[rbd.Claimed, int]:
    claimed, [descriptor] = await process.connection.ask_with(
        rbd.CLAIM, rbd.Claim(None, names, ()), ()
    )
    return claimed, descriptor


async def claimed_in(process: RbdProcess) -> list[tuple[str, ...]]:
    """What is claimed in the pool."""
    lock = await process.ask(rbd.LOCK, Nothing())
    await process.ask(rbd.RELEASE, rbd.Release(lock.lock))
    return sorted(lock.claimed.values())


async def until_claimed(process: RbdProcess, expected: list[tuple[str, ...]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(PoolLocked):
                if await claimed_in(process) == expected:
                    return


async def test_claims_and_lock_of_two_hosts(new_pool: CephPool) -> None:
    async with rbd_process(new_pool) as one, rbd_process(new_pool) as two:
        claim, descriptor = await new_claim(one, "x")
        more = await one.ask(rbd.CLAIM, rbd.Claim(claim.claim, ("y",), (KEY,)))
        assert more == rbd.Claimed(claim.claim, claim.name, ())
        other, other_descriptor = await new_claim(two)
        busy = await two.ask(rbd.CLAIM, rbd.Claim(other.claim, (), (KEY,)))
        assert busy.busy == (KEY,)
        await one.ask(rbd.END_BUILD, rbd.EndBuild(claim.claim, KEY))
        free = await two.ask(rbd.CLAIM, rbd.Claim(other.claim, (), (KEY,)))
        assert free.busy == ()
        lock = await two.ask(rbd.LOCK, Nothing())
        assert {name: sorted(names) for name, names in lock.claimed.items()} == {
            claim.name: ["x", "y"],
            other.name: [],
        }
        for process in (one, two):
            with pytest.raises(PoolLocked):
                await process.ask(rbd.CLAIM, rbd.Claim(None, (), ()))
        await two.ask(rbd.RELEASE, rbd.Release(lock.lock))
        await one.ask(rbd.RELEASE, rbd.Release(claim.claim))
        assert await claimed_in(one) == [()]
        for closed in (descriptor, other_descriptor):
            os.close(closed)


async def test_claim_lasts_as_long_as_its_descriptor(new_pool: CephPool) -> None:
    async with rbd_process(new_pool) as watching, rbd_process(new_pool) as process:
        first, kept = await new_claim(process, "x")
        copy = os.dup(kept)
        os.close(kept)
        _, other = await new_claim(process, "y")
        os.close(other)
        await until_claimed(watching, [("x",)])
        # The keeper has ended, and with it what it builds, but not the claim.
        await process.ask(rbd.CLAIM, rbd.Claim(first.claim, (), (KEY,)))
        await process.ask(rbd.LOCK, Nothing())
        process.close()
        await until_claimed(watching, [("x",)])
        mine, mine_kept = await new_claim(watching)
        free = await watching.ask(rbd.CLAIM, rbd.Claim(mine.claim, (), (KEY,)))
        assert free.busy == ()
        os.close(copy)
        await until_claimed(watching, [()])
        assert await process.wait() == 0
        os.close(mine_kept)


async def test_released_claim_is_unknown(new_pool: CephPool) -> None:
    async with rbd_process(new_pool) as process:
        claim, kept = await new_claim(process, "x")
        os.close(kept)
        await until_claimed(process, [])
        # It has ended, but it may be released once.
        await process.ask(rbd.RELEASE, rbd.Release(claim.claim))
        for request in (
            process.ask(rbd.RELEASE, rbd.Release(claim.claim)),
            process.ask(rbd.CLAIM, rbd.Claim(claim.claim, ("x",), ())),
            process.ask(rbd.END_BUILD, rbd.EndBuild(claim.claim, KEY)),
            process.ask(rbd.PUT_RECORD, rbd.PutRecord(FILE, None, claim.claim)),
        ):
            with pytest.raises(Internal, match=rf"No claim {claim.claim} "):
                await request


async def test_records_are_written_and_read(new_pool: CephPool) -> None:
    async with rbd_process(new_pool) as process:
        empty = await process.ask(rbd.LIST_RECORDS, rbd.ListRecords(None))
        assert not empty.present
        claim, kept = await new_claim(process)

        async def put(expected: Stamp | None, content: bytes | None) -> RecordPut:
            request = rbd.PutRecord(FILE, expected, claim.claim)
            if content is None:
                return await process.ask(rbd.PUT_RECORD, request)
            with sealed(content) as memory:
                return await process.ask(rbd.PUT_RECORD, request, [memory])

        written = await put(None, b"content")
        assert (await put(None, b"other")).changed
        listed = await process.ask(rbd.LIST_RECORDS, rbd.ListRecords(None))
        assert [one.stamp for one in listed.records] == [written.stamp]
        again = await process.ask(rbd.LIST_RECORDS, rbd.ListRecords(listed.stamp))
        assert again.unchanged
        read, [memory] = await process.connection.ask_with(
            rbd.READ_RECORDS, rbd.ReadRecords((FILE,)), ()
        )
        assert read.records[0].stamp == written.stamp
        assert os.pread(memory, 100, 0) == b"content"
        assert not (await put(written.stamp, None)).changed
        os.close(memory)
        os.close(kept)


async def test_killed_process_is_swept(new_pool: CephPool) -> None:
    async with rbd_process(new_pool) as process:
        _, kept = await new_claim(process, "x")
        os.kill(process.pid, signal.SIGKILL)
        os.close(kept)
        with pytest.raises(PoolUnavailable):
            await process.ask(rbd.SWEEP, Nothing())
    async with rbd_process(new_pool) as process:
        # Its lease has not expired yet.
        assert await process.ask(rbd.SWEEP, Nothing()) == rbd.Count(0)
        assert await claimed_in(process) == [("x",)]
