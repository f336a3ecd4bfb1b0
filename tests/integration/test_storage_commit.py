# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finished volumes: complete, read-only, known to libvirt, never in another's place."""

import asyncio
import contextlib
import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from virtlayer.errors import Libvirt, PoolInactive, VolumeExists
from virtlayer.keeper.commit import (
    Placed,
    flush_volume,
    place_volume,
    register_chain,
    register_volume,
)
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.staging import staging_directory
from virtlayer.protocol.pools import Pool, Volume

MIB = 1024**2


def make_qcow2(path: Path, *, backing: str | None = None, size: int = 16 * MIB) -> Path:
    arguments = [] if backing is None else ["-u", "-b", backing, "-F", "qcow2"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *arguments, path, str(size)], check=True
    )
    return path


async def commit_volume(
    pools: Pools, pool: Pool, staged: Path, name: str, *, expected_backing: Path | None
) -> Volume:
    """Put a finished file into a pool and register it: all three steps."""
    await flush_volume(pool, staged)
    placed = await place_volume(pool, staged, name)
    return await register_volume(pools, pool, placed, expected_backing=expected_backing)


@pytest.mark.parametrize("run_host", [session_host, private_host])
async def test_a_chain_is_committed_volume_by_volume(
    run_host: Callable[[], AbstractContextManager[LibvirtHost]],
) -> None:
    with run_host() as host:
        host.start_pool("default")
        async with Hypervisor(host.uri) as hypervisor:
            pools = Pools(hypervisor)
            pool = await pools.get("default")
            async with staging_directory(pools, pool, 1) as staging:
                staged = make_qcow2(staging / "base.qcow2")
                base = await commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
                staged = make_qcow2(staging / "top.qcow2", backing="base.qcow2")
                top = await commit_volume(
                    pools, pool, staged, "top.qcow2", expected_backing=base.path
                )
                assert staged.samefile(top.path)  # for who is about to open it
        assert host.volumes("default") == ["base.qcow2", "top.qcow2"]
        assert top.backing_path == base.path == pool.path / "base.qcow2"
        assert stat.S_IMODE(top.path.stat().st_mode) == 0o444
        assert top.path.stat().st_nlink == 1


async def test_another_writer_who_was_first_wins(pools: Pools, pool: Pool) -> None:
    theirs = make_qcow2(pool.path / "base.qcow2")
    inode = theirs.stat().st_ino
    async with staging_directory(pools, pool, 1) as staging:
        staged = make_qcow2(staging / "base.qcow2")
        volume = await commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
    assert volume.path == theirs
    assert theirs.stat().st_ino == inode


async def test_a_foreign_file_in_the_place_stays_and_is_told(pools: Pools, pool: Pool) -> None:
    theirs = pool.path / "base.qcow2"
    theirs.write_bytes(b"something else")
    async with staging_directory(pools, pool, 1) as staging:
        staged = make_qcow2(staging / "base.qcow2")
        with pytest.raises(VolumeExists, match=r"base\.qcow2.*Delete it"):
            await commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
    assert theirs.read_bytes() == b"something else"


async def test_a_volume_that_libvirt_sees_otherwise_is_removed_again(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    make_qcow2(pool.path / "base.qcow2")
    async with staging_directory(pools, pool, 1) as staging:
        staged = make_qcow2(staging / "top.qcow2", backing="other.qcow2")
        with pytest.raises(Libvirt, match=r"top\.qcow2"):
            await commit_volume(
                pools, pool, staged, "top.qcow2", expected_backing=pool.path / "base.qcow2"
            )
    assert host.volumes(pool.name) == ["base.qcow2"]


async def placed_chain(pools: Pools, pool: Pool) -> dict[Placed, Path | None]:
    """Three placed volumes, of which the second names another backing image than it should."""
    backings = {"base.qcow2": None, "middle.qcow2": "other.qcow2", "top.qcow2": "middle.qcow2"}
    async with staging_directory(pools, pool, 1) as staging:
        placed = []
        for name, backing in backings.items():
            staged = make_qcow2(staging / name, backing=backing)
            placed.append(await place_volume(pool, staged, name))
    return dict(zip(placed, [None, *(volume.path for volume in placed)], strict=False))


async def test_of_a_chain_that_libvirt_sees_otherwise_the_sound_part_stays(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    chain = await placed_chain(pools, pool)
    with pytest.raises(Libvirt, match=r"middle\.qcow2"):
        await register_chain(pools, pool, chain)
    assert host.volumes(pool.name) == ["base.qcow2"]
    [base, *_] = chain
    volumes = await register_chain(pools, pool, {base: None})
    assert [volume.path for volume in volumes.values()] == [pool.path / "base.qcow2"]


async def test_what_stands_on_a_volume_that_libvirt_does_not_see_stays(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    chain = await placed_chain(pools, pool)
    (pool.path / "base.qcow2").unlink()
    with pytest.raises(Libvirt, match=r"does not see the volume base\.qcow2"):
        await register_chain(pools, pool, chain)
    assert host.volumes(pool.name) == ["middle.qcow2", "top.qcow2"]


async def test_a_chain_stays_when_libvirt_cannot_look(host: LibvirtHost, pools: Pools) -> None:
    path = host.start_pool("resting")
    pool = await pools.get("resting")
    chain = await placed_chain(pools, pool)
    host.virsh("pool-destroy", "resting")
    with pytest.raises(PoolInactive):
        await register_chain(pools, pool, chain)
    assert {entry.name for entry in path.iterdir()} == {placed.path.name for placed in chain}
    host.virsh("pool-undefine", "resting")


async def test_a_pool_that_was_stopped_keeps_nothing(host: LibvirtHost, pools: Pools) -> None:
    path = host.start_pool("stopped")
    pool = await pools.get("stopped")
    async with staging_directory(pools, pool, 1) as staging:
        staged = make_qcow2(staging / "base.qcow2")
        host.virsh("pool-destroy", "stopped")
        with pytest.raises(PoolInactive):
            await commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
    assert list(path.iterdir()) == []
    host.virsh("pool-undefine", "stopped")


async def test_commits_at_a_time_do_not_disturb_each_other(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    names = [f"volume-{number:02}.qcow2" for number in range(20)]
    async with staging_directory(pools, pool, 1) as staging:
        for name in names:
            make_qcow2(staging / name)
        await asyncio.gather(
            *(
                commit_volume(pools, pool, staging / name, name, expected_backing=None)
                for name in names
            )
        )
    assert host.volumes(pool.name) == names


async def test_a_cancellation_leaves_all_of_a_volume_or_nothing(
    host: LibvirtHost, pools: Pools, pool: Pool
) -> None:
    kept = 0
    for turns in range(12):
        async with staging_directory(pools, pool, 1) as staging:
            staged = make_qcow2(staging / "base.qcow2")
            commit = asyncio.create_task(
                commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
            )
            await asyncio.sleep(turns * 0.002)
            commit.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await commit
        names = host.volumes(pool.name)
        if names:
            kept += 1
            assert names == ["base.qcow2"]
            assert stat.S_IMODE((pool.path / "base.qcow2").stat().st_mode) == 0o444
            (pool.path / "base.qcow2").unlink()
    assert kept > 0


async def test_all_is_on_disk_before_the_name_is_there(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        steps.append("link")
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    async with staging_directory(pools, pool, 1) as staging:
        staged = make_qcow2(staging / "base.qcow2")
        await commit_volume(pools, pool, staged, "base.qcow2", expected_backing=None)
    assert steps == ["fsync base.qcow2", "link", f"fsync {pool.path.name}"]
