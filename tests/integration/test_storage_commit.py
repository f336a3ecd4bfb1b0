# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finished volumes: complete, read-only, known to libvirt, never in another's place."""

import asyncio
import contextlib
import itertools
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from tests.support.pool_content import names_in
from tests.support.staging import claimed, path_of, staging_in
from virtlayer.errors import Libvirt, PoolInactive, VolumeExists
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.directory import commit as commit_module
from virtlayer.keeper.kinds.directory.commit import flush_volume, place_volume
from virtlayer.keeper.kinds.directory.records import NewRecord
from virtlayer.keeper.kinds.directory.registration import register_volumes
from virtlayer.keeper.kinds.directory.staging import StagingDirectory, staging_directory
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.calls import ExpectedVolume
from virtlayer.protocol.pools import Pool, Volume

MIB = 1024**2


def make_qcow2(path: Path, *, backing: str | None = None, size: int = 16 * MIB) -> Path:
    arguments = [] if backing is None else ["-u", "-b", backing, "-F", "qcow2"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *arguments, path, str(size)], check=True
    )
    return path


def stage(staging: StagingDirectory, name: str, *, backing: str | None = None) -> str:
    """Make a qcow2 in a staging directory."""
    make_qcow2(path_of(staging) / name, backing=backing)
    return name


async def place(pool: Pool, staging: StagingDirectory, staged: str, name: str) -> Placed:
    """Flush a file and place it."""
    with await flush_volume(pool, staging, staged) as flushed:
        return await place_volume(pool, flushed, name)


def expected_volume(placed: Placed, backing: str | None) -> ExpectedVolume:
    """What libvirt is expected to see."""
    return ExpectedVolume(placed.path.name, backing, ("qcow2",))


@contextlib.asynccontextmanager
async def unused(_name: str) -> AsyncIterator[None]:
    """Nothing uses the layers of these tests."""
    yield


async def commit(
    pools: Pools, pool: Pool, staging: StagingDirectory, name: str, *, expected_backing: Path | None
) -> Volume:
    """All three steps."""
    placed = await place(pool, staging, name, name)
    expected = expected_volume(placed, None if expected_backing is None else expected_backing.name)
    [volume] = (await register_volumes(pools, pool, {placed: expected}, unused)).values()
    return volume


@pytest.mark.parametrize("run_host", [session_host, private_host])
async def test_a_chain_is_committed_volume_by_volume(
    run_host: Callable[[], AbstractContextManager[LibvirtHost]],
) -> None:
    with run_host() as host:
        host.start_pool("default")
        async with Hypervisor(host.uri) as hypervisor:
            pools = Pools(hypervisor)
            pool = await pools.get("default")
            async with staging_in(pools, pool) as staging:
                staged = stage(staging, "base.qcow2")
                base = await commit(pools, pool, staging, staged, expected_backing=None)
                staged = stage(staging, "top.qcow2", backing="base.qcow2")
                top = await commit(pools, pool, staging, staged, expected_backing=base.path)
                # For a program that is about to open it.
                found = os.stat(staged, dir_fd=staging.descriptor)
                assert os.path.samestat(found, top.path.stat())
        assert host.volumes("default") == ["base.qcow2", "top.qcow2"]
        assert top.backing_path == base.path == pool.path / "base.qcow2"
        assert stat.S_IMODE(top.path.stat().st_mode) == 0o440
        assert top.path.stat().st_nlink == 1


async def test_first_writer_wins(pools: Pools, pool: Pool) -> None:
    theirs = make_qcow2(pool.path / "base.qcow2")
    inode = theirs.stat().st_ino
    async with staging_in(pools, pool) as staging:
        staged = stage(staging, "base.qcow2")
        volume = await commit(pools, pool, staging, staged, expected_backing=None)
    assert volume.path == theirs
    assert theirs.stat().st_ino == inode


async def test_foreign_file_with_the_name_is_kept_and_reported(pools: Pools, pool: Pool) -> None:
    theirs = pool.path / "base.qcow2"
    theirs.write_bytes(b"something else")
    async with staging_in(pools, pool) as staging:
        staged = stage(staging, "base.qcow2")
        with pytest.raises(VolumeExists, match=r"base\.qcow2.*Delete it"):
            await commit(pools, pool, staging, staged, expected_backing=None)
    assert theirs.read_bytes() == b"something else"


async def test_record_is_removed_if_another_program_makes_the_volume_at_that_moment(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = pool.path / "guest.qcow2"
    monkeypatch.setattr(commit_module, "note_made", lambda *_, **__: theirs.write_bytes(b"theirs"))
    async with (
        claimed(pool) as claim,
        staging_directory(pools, claim) as staging,
    ):
        content = os.memfd_create("record")
        record = NewRecord(claim.own, claim.name, f"{'0' * 64}.json", content)
        with await flush_volume(pool, staging, stage(staging, "v1")) as flushed:
            placed = await place_volume(pool, flushed, theirs.name, record=record)
        os.close(content)
    assert (placed.ours, placed.record) == (False, None)
    assert theirs.read_bytes() == b"theirs"
    assert list(pool.path.glob(".virtlayer/*.json")) == []


async def test_a_volume_that_libvirt_sees_otherwise_is_removed_again(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    make_qcow2(pool.path / "base.qcow2")
    async with staging_in(pools, pool) as staging:
        staged = stage(staging, "top.qcow2", backing="other.qcow2")
        with pytest.raises(Libvirt, match=r"top\.qcow2"):
            await commit(pools, pool, staging, staged, expected_backing=pool.path / "base.qcow2")
    assert host.volumes(pool.name) == ["base.qcow2"]


BASE, MIDDLE, TOP = (f"layer-{digit * 64}.qcow2" for digit in "123")


async def placed_chain(pools: Pools, pool: Pool) -> dict[Placed, ExpectedVolume]:
    """Three placed layers, of which the second names another backing image than it should."""
    backings = {BASE: None, MIDDLE: "other.qcow2", TOP: MIDDLE}
    async with staging_in(pools, pool) as staging:
        placed = []
        for name, backing in backings.items():
            staged = stage(staging, name, backing=backing)
            placed.append(await place(pool, staging, staged, name))
    expected = zip(placed, [None, BASE, MIDDLE], strict=True)
    return {one: expected_volume(one, backing) for one, backing in expected}


async def test_of_a_chain_that_libvirt_sees_otherwise_the_sound_part_stays(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    chain = await placed_chain(pools, pool)
    with pytest.raises(Libvirt, match=MIDDLE):
        await register_volumes(pools, pool, chain, unused)
    assert host.volumes(pool.name) == [BASE]
    [base, *_] = chain
    volumes = await register_volumes(pools, pool, {base: chain[base]}, unused)
    assert [volume.path for volume in volumes.values()] == [pool.path / BASE]


async def test_chain_above_an_unlisted_volume_stays(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    chain = await placed_chain(pools, pool)
    (pool.path / BASE).unlink()
    with pytest.raises(Libvirt, match=f"does not list the volume {BASE}"):
        await register_volumes(pools, pool, chain, unused)
    assert host.volumes(pool.name) == [MIDDLE, TOP]


async def test_a_chain_stays_when_libvirt_cannot_look(host: LibvirtHost, pools: Pools) -> None:
    path = host.start_pool("resting")
    pool = await pools.get("resting")
    chain = await placed_chain(pools, pool)
    host.virsh("pool-destroy", "resting")
    with pytest.raises(PoolInactive):
        await register_volumes(pools, pool, chain, unused)
    assert set(names_in(path)) == {placed.path.name for placed in chain}
    host.virsh("pool-undefine", "resting")


async def test_a_pool_that_was_stopped_keeps_nothing(host: LibvirtHost, pools: Pools) -> None:
    path = host.start_pool("stopped")
    pool = await pools.get("stopped")
    async with staging_in(pools, pool) as staging:
        staged = stage(staging, "base.qcow2")
        host.virsh("pool-destroy", "stopped")
        with pytest.raises(PoolInactive):
            await commit(pools, pool, staging, staged, expected_backing=None)
    assert names_in(path) == []
    host.virsh("pool-undefine", "stopped")


async def test_commits_at_a_time_do_not_disturb_each_other(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    names = [f"volume-{number:02}.qcow2" for number in range(20)]
    async with staging_in(pools, pool) as staging:
        for name in names:
            stage(staging, name)
        await asyncio.gather(
            *(commit(pools, pool, staging, name, expected_backing=None) for name in names)
        )
    assert host.volumes(pool.name) == names


async def test_a_cancellation_leaves_all_of_a_volume_or_nothing(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    kept = 0
    for turns in itertools.count():
        if turns >= 12 and kept:
            break
        async with staging_in(pools, pool) as staging:
            staged = stage(staging, "base.qcow2")
            task = asyncio.create_task(commit(pools, pool, staging, staged, expected_backing=None))
            await asyncio.sleep(turns * 0.002)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        names = host.volumes(pool.name)
        if names:
            kept += 1
            assert names == ["base.qcow2"]
            assert stat.S_IMODE((pool.path / "base.qcow2").stat().st_mode) == 0o440
            (pool.path / "base.qcow2").unlink()


async def test_all_is_on_disk_before_the_name_is_there(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def link(source: str, target: str, **options: Any) -> None:
        steps.append("link")
        real_link(source, target, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    async with staging_in(pools, pool) as staging:
        staged = stage(staging, "base.qcow2")
        await commit(pools, pool, staging, staged, expected_backing=None)
    assert steps == ["fsync base.qcow2", "link", f"fsync {pool.path.name}"]
