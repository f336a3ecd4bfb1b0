# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories: private, gone afterwards, and swept only when their owner is dead."""

import asyncio
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.small_filesystem import small_filesystem
from tests.support.staging import path_of
from virtlayer.errors import NoSpace, PoolInactive
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.staging import (
    STAGING_PARENT,
    _own_prefix,
    staging_directory,
    sweep,
)
from virtlayer.protocol.pools import Pool

_OWNER = """
import sys, time
from pathlib import Path
from virtlayer.keeper.staging import _Making, _own_prefix
directory = _Making(Path(sys.argv[1]), _own_prefix() + "7-", None).make()
print(directory.name, flush=True)
time.sleep(1000)
"""


def make_lasting_owner(pool: Pool) -> tuple[subprocess.Popen[str], Path]:
    """Another process that has a staging directory in the pool."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, pool.path],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    directory = pool.path / STAGING_PARENT / owner.stdout.readline().strip()
    owner.stdout.close()
    return owner, directory


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()


async def test_it_is_private_and_gone_afterwards(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    async with staging_directory(pools, pool, 12) as staging:
        directory = path_of(staging)
        assert directory.parent == pool.path / STAGING_PARENT
        assert "-12-" in directory.name
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        (directory / "unfinished.qcow2").write_bytes(b"QFI\xfb\0\0\0\3")
        # libvirt lists the parent, and does not look into it.
        assert host.volumes(pool.name) == [STAGING_PARENT]
    assert list(pool.path.iterdir()) == []
    assert STAGING_PARENT not in host.virsh("vol-list", pool.name)


async def test_it_is_gone_after_an_error_and_a_cancellation(pools: Pools, pool: Pool) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with staging_directory(pools, pool, 1) as staging:
            (path_of(staging) / "file").touch()
            entered.set()
            await asyncio.sleep(1000)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        async with staging_directory(pools, pool, 1):
            raise ZeroDivisionError
    assert list(pool.path.iterdir()) == []


async def test_a_cancellation_while_it_is_made_leaves_nothing(pools: Pools, pool: Pool) -> None:
    async def work() -> None:
        async with staging_directory(pools, pool, 1):
            await asyncio.sleep(1000)

    for turns in range(8):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(pool.path.iterdir()) == []


async def test_jobs_that_come_and_go_do_not_disturb_each_other(pools: Pools, pool: Pool) -> None:
    async def work(number: int) -> None:
        for _ in range(5):
            async with staging_directory(pools, pool, number) as staging:
                (path_of(staging) / "file").write_text("x")
                await sweep(pools, pool)
                assert (path_of(staging) / "file").read_text() == "x"

    await asyncio.gather(*(work(number) for number in range(10)))
    assert list(pool.path.iterdir()) == []


async def test_what_a_dead_owner_left_is_swept(host: LibvirtHost, pools: Pools, pool: Pool) -> None:
    owner, directory = make_lasting_owner(pool)
    try:
        (directory / "part.qcow2").write_bytes(b"x" * 1000)
        assert await sweep(pools, pool) == 0
        assert (directory / "part.qcow2").exists()
    finally:
        end(owner)
    assert host.volumes(pool.name) == [STAGING_PARENT]
    assert await sweep(pools, pool) == 1
    assert list(pool.path.iterdir()) == []
    assert STAGING_PARENT not in host.virsh("vol-list", pool.name)


async def test_an_owner_that_died_before_it_locked_is_swept(pools: Pools, pool: Pool) -> None:
    (pool.path / STAGING_PARENT / f"{_own_prefix()}3-abcd").mkdir(parents=True)
    assert await sweep(pools, pool) == 1
    assert list(pool.path.iterdir()) == []


async def test_what_belongs_to_others_is_not_swept(pools: Pools, pool: Pool) -> None:
    foreign = pool.path / STAGING_PARENT / "0123abcd-0-3-abcd"
    foreign.mkdir(parents=True)
    unknown = pool.path / STAGING_PARENT / "a-file"
    unknown.touch()
    assert await sweep(pools, pool) == 0
    assert foreign.exists()
    assert unknown.exists()
    assert await sweep(pools, pool) == 0
    shutil.rmtree(foreign.parent)


async def test_a_pool_without_leftovers_is_left_alone(pools: Pools, pool: Pool) -> None:
    assert await sweep(pools, pool) == 0
    assert list(pool.path.iterdir()) == []


async def test_a_directory_that_has_gone_is_told(pools: Pools, pool: Pool) -> None:
    shutil.rmtree(pool.path)
    with pytest.raises(PoolInactive, match=f"pool-start {pool.name}"):
        async with staging_directory(pools, pool, 1):
            pass
    pool.path.mkdir()


async def test_a_full_pool_is_told(pools: Pools, pool: Pool) -> None:
    # The root and the parent: nothing is left for the job's directory.
    with small_filesystem(pool.path, 1024**2, inodes=2):
        with pytest.raises(NoSpace, match=pool.name):
            async with staging_directory(pools, pool, 1):
                pass
        assert list(pool.path.iterdir()) == []
