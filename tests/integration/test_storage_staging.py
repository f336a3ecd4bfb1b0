# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories: private, gone afterwards, and swept only when their claim is dead."""

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import OWN, left_by_jobs, names_in
from tests.support.small_filesystem import small_filesystem
from tests.support.staging import claimed, path_of, staging_in
from virtlayer.errors import NoSpace, PoolInactive
from virtlayer.keeper.kinds.directory import sweep as sweep_module
from virtlayer.keeper.kinds.directory.former_staging import FORMER_STAGING, own_prefix
from virtlayer.keeper.kinds.directory.staging import staging_directory
from virtlayer.keeper.kinds.directory.sweep import sweep
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool

_USER = frozenset({os.geteuid()})

_OWNER = """
import sys, time
from pathlib import Path
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.own_directory import own_directory
from virtlayer.keeper.kinds.directory.staging import _Making
from virtlayer.protocol.pools import Pool
claim = DirectoryClaim(Pool("pool", "uuid", "dir", Path(sys.argv[1])))
with own_directory(claim.pool) as own:
    claim.make(own, ["a"])
making = _Making(claim, None)
making.make()
print(claim.name, flush=True)
time.sleep(1000)
"""


@contextlib.contextmanager
def lasting_owner(pool: Pool) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has a staging directory in the pool."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, pool.path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        try:
            yield owner, pool.path / OWN / "staging" / f"{name}-1"
        finally:
            owner.kill()


async def test_staging_directory_is_private_and_removed_afterwards(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    async with claimed(pool) as claim:
        async with staging_directory(pools, claim) as one, staging_directory(pools, claim) as two:
            assert [path_of(made).name for made in (one, two)] == [
                f"{claim.name}-1",
                f"{claim.name}-2",
            ]
            directory = path_of(one)
            assert directory.parent == pool.path / OWN / "staging"
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            (directory / "unfinished.qcow2").write_bytes(b"QFI\xfb\0\0\0\3")
            # libvirt does not look into it.
            assert host.volumes(pool.name) == []
        assert left_by_jobs(pool.path) == [pool.path / OWN / "claims" / claim.name]
    assert left_by_jobs(pool.path) == []


async def test_staging_directory_is_removed_after_error_and_cancellation(
    pools: Pools, pool: Pool
) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with staging_in(pools, pool) as staging:
            (path_of(staging) / "file").touch()
            entered.set()
            await asyncio.sleep(1000)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        async with staging_in(pools, pool):
            raise ZeroDivisionError
    assert left_by_jobs(pool.path) == []


async def test_cancelled_creation_of_staging_leaves_nothing(pools: Pools, pool: Pool) -> None:
    async def work() -> None:
        async with staging_in(pools, pool):
            await asyncio.sleep(1000)

    for turns in range(12):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left_by_jobs(pool.path) == []


async def test_jobs_that_come_and_go_do_not_disturb_each_other(pools: Pools, pool: Pool) -> None:
    async def work() -> None:
        for _ in range(5):
            async with staging_in(pools, pool) as staging:
                (path_of(staging) / "file").write_text("x")
                assert await sweep(pool, _USER) == 0
                assert (path_of(staging) / "file").read_text() == "x"

    await asyncio.gather(*(work() for _ in range(10)))
    assert left_by_jobs(pool.path) == []


async def test_files_of_a_dead_owner_are_swept(pool: Pool) -> None:
    with lasting_owner(pool) as (owner, directory):
        (directory / "part.qcow2").write_bytes(b"x" * 1000)
        (pool.path / OWN / f".new-{directory.name.partition('-')[0]}-1").touch()
        assert await sweep(pool, _USER) == 0
        assert (directory / "part.qcow2").exists()
        assert len(left_by_jobs(pool.path)) == 3
        owner.kill()
        owner.wait()
        assert await sweep(pool, _USER) == 1
    assert left_by_jobs(pool.path) == []


async def test_files_of_an_unreadable_claim_are_kept(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate a server that temporarily does not answer."""

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with lasting_owner(pool) as (_, directory):
        with monkeypatch.context() as patch:
            patch.setattr(sweep_module, "open_regular", fail)
            assert await sweep(pool, _USER) == 0
        assert directory.exists()
    assert await sweep(pool, _USER) == 1


async def test_two_sweeps_share_the_work(pool: Pool) -> None:
    with lasting_owner(pool) as (owner, _):
        owner.kill()
        owner.wait()
    assert sum(await asyncio.gather(*(sweep(pool, _USER) for _ in range(4)))) == 1
    assert left_by_jobs(pool.path) == []


async def test_files_without_a_claim_are_swept(pool: Pool) -> None:
    async with claimed(pool):
        pass
    own = pool.path / OWN
    (own / "staging" / "0123-1" / "deep").mkdir(parents=True)
    (own / "staging" / "a-file").touch()
    (own / ".new-0123-1").touch()
    assert await sweep(pool, _USER) == 2
    assert left_by_jobs(pool.path) == []


async def test_a_pool_without_leftovers_is_left_alone(pool: Pool) -> None:
    assert await sweep(pool, _USER) == 0
    assert list(pool.path.iterdir()) == []


async def test_leftovers_of_a_former_version_are_swept(pool: Pool) -> None:
    parent = pool.path / FORMER_STAGING
    (parent / f"{own_prefix()}3-abcd").mkdir(parents=True)
    (parent / f"{own_prefix()}3-abcd" / "v1").touch()
    assert await sweep(pool, _USER) == 1
    assert list(pool.path.iterdir()) == []
    foreign = parent / "0123abcd-0-3-abcd"
    foreign.mkdir(parents=True)
    assert await sweep(pool, _USER) == 0
    assert foreign.exists()
    shutil.rmtree(parent)


async def test_missing_directory_is_reported(pools: Pools, pool: Pool) -> None:
    shutil.rmtree(pool.path)
    with pytest.raises(PoolInactive, match=f"{pool.name}.*is missing"):
        async with staging_in(pools, pool):
            pass
    pool.path.mkdir()


@pytest.mark.parametrize("inodes", range(2, 9))
async def test_full_pool_is_reported(pools: Pools, pool: Pool, inodes: int) -> None:
    # .virtlayer, lock, claims, the claim, staging, the directory, and a file that is tried there.
    with small_filesystem(pool.path, 1024**2, inodes=inodes):
        with pytest.raises(NoSpace, match=pool.name) if inodes < 8 else contextlib.nullcontext():
            async with staging_in(pools, pool):
                pass
        assert names_in(pool.path) == []
        assert left_by_jobs(pool.path) == []
