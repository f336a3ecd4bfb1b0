# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool whose directory belongs to another user, who swaps names while root's service writes.

Each test stops the service's code at one step and lets the owner act there, as another uid: nothing
depends on who is faster. Files of root, and what is in a directory of root, stay as they were.
"""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.keeper import LocalStaging
from tests.support.pool_content import OWN, left_by_jobs, names_in
from tests.support.staging import claimed, path_of, staging_in
from virtlayer.errors import Internal, PoolUnsupported, VirtlayerError, VolumeExists
from virtlayer.keeper.beneath import make_directory, opened
from virtlayer.keeper.kinds.directory import former_staging, sweep
from virtlayer.keeper.kinds.directory.commit import flush_volume, place_volume
from virtlayer.keeper.kinds.directory.directories import place_directory
from virtlayer.keeper.kinds.directory.former_staging import FORMER_STAGING
from virtlayer.keeper.kinds.directory.registration import withdraw_volume
from virtlayer.keeper.kinds.directory.staging import StagingDirectory, link_chain
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.users import qemu_uid
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.pools import Pool
from virtlayer.service.chain.qcow2 import create_qcow2_overlay

pytestmark = pytest.mark.root

_GAMES = pwd.getpwnam("games")
_ROOT = frozenset({0})
_SECRET = b"of root alone\n"


@dataclass
class Owner:
    """The user whom the pool's directory belongs to."""

    pool: Path

    def does(self, script: str, *arguments: str | Path) -> None:
        """Run a shell script in the pool's directory."""
        drop = [f"--reuid={_GAMES.pw_uid}", f"--regid={_GAMES.pw_gid}", "--clear-groups"]
        command = ["setpriv", *drop, "--", "sh", "-euc", script, "sh", *arguments]
        subprocess.run(command, cwd=self.pool, check=True)

    def replaces(self, name: str, target: Path) -> None:
        """Put a link in the place of a name."""
        self.does('mv -T -- "$1" "$1.moved" && ln -s -- "$2" "$1"', name, target)


@dataclass
class Victim:
    """Files of root: a file, and a directory with a file."""

    directory: Path
    files: dict[str, bytes] = field(default_factory=lambda: {"file": _SECRET, "in": _SECRET})

    def __post_init__(self) -> None:
        self.directory.chmod(0o755)
        self.file.write_bytes(_SECRET)
        self.file.chmod(0o600)
        (self.directory / "below").mkdir()
        (self.directory / "below" / "in").write_bytes(_SECRET)
        self._before = self.state()

    @property
    def file(self) -> Path:
        """A file that nobody else may read."""
        return self.directory / "file"

    def state(self) -> list[tuple[str, int, int, int, int, bytes]]:
        """Everything about them."""
        found = []
        for path in sorted(self.directory.rglob("*")):
            info = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            times = info.st_mtime_ns
            found.append((str(path), info.st_mode, info.st_uid, info.st_nlink, times, content))
        return found

    def check(self) -> None:
        """See that nothing has changed."""
        assert self.state() == self._before


@pytest.fixture
def owner(pool: Pool) -> Iterator[Owner]:
    os.chown(pool.path, _GAMES.pw_uid, _GAMES.pw_gid)
    owner = Owner(pool.path)
    yield owner
    assert left_by_jobs(pool.path) == []
    for path in pool.path.glob(".virtlayer*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def victim(pool: Pool) -> Iterator[Victim]:
    # On the pool's file system, so that links between them are possible.
    directory = pool.path.parent / f"{pool.name}-victim"
    directory.mkdir()
    found = Victim(directory)
    yield found
    found.check()
    subprocess.run(["rm", "-r", directory], check=True)


def at(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, action: Callable[[], None]
) -> None:
    """Let something happen once, just before a step of the service."""
    step = getattr(module, name)
    done = False

    def acted(*args: object, **kwargs: object) -> object:
        nonlocal done
        if not done:
            done = True
            action()
        return step(*args, **kwargs)

    monkeypatch.setattr(module, name, acted)


async def make_overlay(made: StagingDirectory) -> None:
    """Let QEMU's program write a file into a staging directory."""
    place = LocalStaging(made.descriptor, Purpose.VOLUME)
    await create_qcow2_overlay(place, 1024**2, f"layer-{'0' * 64}.qcow2")


# ---- the staging directory itself ----


@pytest.mark.parametrize(
    "put",
    ['ln -s "$1" .virtlayer', "mkfifo .virtlayer", "mkdir .virtlayer", "mkdir -m 777 .virtlayer"],
    ids=["link", "fifo", "directory", "open directory"],
)
@pytest.mark.parametrize("at_once", [False, True])
async def test_foreign_file_in_place_of_our_directory_is_refused(
    pools: Pools,
    pool: Pool,
    owner: Owner,
    victim: Victim,
    monkeypatch: pytest.MonkeyPatch,
    put: str,
    at_once: bool,
) -> None:
    """Also if the owner moves away what root has made, before that is opened."""
    real = os.mkdir

    def mkdir(name: str, *args: int, **kwargs: int) -> None:
        real(name, *args, **kwargs)
        monkeypatch.setattr(os, "mkdir", real)
        owner.does(f"mv .virtlayer .virtlayer.moved && {put}", victim.directory)

    if at_once:
        monkeypatch.setattr(os, "mkdir", mkdir)
    else:
        owner.does(put, victim.directory)
    with pytest.raises(PoolUnsupported, match=r"is not a directory of the pool|belongs to uid"):
        async with staging_in(pools, pool):
            pass
    assert await sweep.sweep(pool, _ROOT) == 0


async def test_a_staging_directory_that_is_swapped_later_is_used_all_the_same(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    async with staging_in(pools, pool, owner=qemu_uid()) as made:
        owner.replaces(OWN, victim.directory)
        await make_overlay(made)
        with await flush_volume(pool, made, "volume.qcow2") as flushed:
            placed = await place_volume(pool, flushed, "guest.qcow2")
        assert (placed.ours, placed.path.read_bytes()[:4]) == (True, b"QFI\xfb")
        assert stat.S_IMODE(placed.path.stat().st_mode) == 0o440
    # What the job had there is removed.
    moved = pool.path / f"{OWN}.moved"
    assert sorted(path.name for path in moved.rglob("*")) == ["claims", "lock", "staging"]


async def test_a_name_that_is_a_link_already_is_not_overwritten(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    owner.does('ln -s "$1" guest.qcow2', victim.file)
    async with staging_in(pools, pool, owner=qemu_uid()) as made:
        await make_overlay(made)
        with await flush_volume(pool, made, "volume.qcow2") as flushed:
            placed = await place_volume(pool, flushed, "guest.qcow2")
    assert not placed.ours
    assert placed.path.readlink() == victim.file


# ---- what the program that writes has left ----


@pytest.mark.parametrize("kind", ["link", "fifo", "device", "directory", "foreign file"])
async def test_a_finished_file_that_is_something_else_is_refused(
    pools: Pools, pool: Pool, victim: Victim, kind: str
) -> None:
    async with staging_in(pools, pool, owner=_GAMES.pw_uid) as made:
        new = path_of(made) / "v1"
        match kind:
            case "link":
                new.symlink_to(victim.file)
            case "fifo":
                os.mkfifo(new)
            case "device":
                os.mknod(new, stat.S_IFCHR | 0o600, os.makedev(1, 3))
            case "directory":
                new.mkdir()
            case "foreign file":
                new.touch()
                os.chown(new, 1, 1)
        with pytest.raises(VirtlayerError, match="v1"):
            await flush_volume(pool, made, "v1")


async def test_a_finished_file_with_another_name_is_refused(
    pools: Pools, pool: Pool, victim: Victim
) -> None:
    """A second name of one of root's files, where the kernel lets users make one."""
    before = victim.file.stat()
    async with staging_in(pools, pool, owner=_GAMES.pw_uid) as made:
        os.link(victim.file, path_of(made) / "v1")
        with pytest.raises(Internal, match="has 2 names"):
            await flush_volume(pool, made, "v1")
    assert stat.S_IMODE(before.st_mode) == 0o600


async def test_a_finished_file_belongs_to_root_afterwards(pools: Pools, pool: Pool) -> None:
    games = (_GAMES.pw_uid, _GAMES.pw_gid)
    async with staging_in(pools, pool, owner=_GAMES.pw_uid) as made:
        new = path_of(made) / "v1"
        new.write_bytes(b"content")
        os.chown(new, *games)
        with await flush_volume(pool, made, "v1", mode=0o440) as flushed:
            # The program's user puts another file there: what was examined is what is placed.
            Owner(path_of(made)).does("mv v1 away && echo other > v1")
            placed = await place_volume(pool, flushed, "layer.qcow2")
    info = placed.path.stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (0, 0o440)
    assert placed.path.read_bytes() == b"content"


# ---- reading the pool's volumes ----


async def test_a_base_that_is_swapped_for_a_link_is_not_read(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    owner.does('ln -s "$1" base.qcow2; mkfifo fifo.qcow2', victim.file)
    async with staging_in(pools, pool) as made:
        for name in ("base.qcow2", "fifo.qcow2"):
            with pytest.raises(OSError, match=r"is a (symbolic link|FIFO)"):
                link_chain(made, [name])


async def test_a_base_stays_the_one_that_was_examined(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    (pool.path / "base.qcow2").write_bytes(b"base")
    async with staging_in(pools, pool) as made:
        name = link_chain(made, ["base.qcow2"])
        owner.replaces("base.qcow2", victim.file)
        assert (path_of(made) / name).read_bytes() == b"base"
    assert (pool.path / "base.qcow2.moved").stat().st_nlink == 1


async def test_file_that_is_not_a_layer_keeps_its_group(pools: Pools, pool: Pool) -> None:
    """Simulate a hard link to /etc/sudoers, where users can create one."""
    name = f"layer-{'0' * 64}.qcow2"
    (pool.path / name).write_bytes(_SECRET)
    (pool.path / name).chmod(0o440)
    async with staging_in(pools, pool) as made:
        link_chain(made, [name], readers=_GAMES.pw_gid)
    assert (pool.path / name).stat().st_gid == 0


# ---- sweeping ----


async def test_sweep_does_not_follow_a_swapped_link(
    pool: Pool, owner: Owner, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with claimed(pool):
        pass
    left = pool.path / OWN / "staging" / "0123abcd-1"
    left.mkdir(parents=True)
    (left / "v1").write_bytes(b"unfinished")
    (left / "link").symlink_to(victim.directory)
    at(monkeypatch, sweep, "remove_tree", lambda: owner.replaces(OWN, victim.directory))
    assert await sweep.sweep(pool, _ROOT) == 1
    assert list((pool.path / f"{OWN}.moved" / "staging").iterdir()) == []


def own_name(job: int) -> str:
    return f"{former_staging.own_prefix()}{job}-0123abcd"


async def test_files_of_a_pools_owner_are_not_swept(
    pool: Pool, owner: Owner, victim: Victim
) -> None:
    owner.does(
        'mkdir -p .virtlayer-staging/"$1"; ln -s "$3" .virtlayer-staging/"$2"',
        *(own_name(1), own_name(2), victim.directory),
    )
    assert await sweep.sweep(pool, _ROOT) == 0


async def test_sweep_for_former_versions_does_not_follow_a_swapped_link(
    pool: Pool, owner: Owner, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = pool.path / FORMER_STAGING / own_name(1)
    left.mkdir(parents=True)
    (left / "v1").write_bytes(b"unfinished")
    (left / "link").symlink_to(victim.directory)
    os.chown(left.parent, _GAMES.pw_uid, _GAMES.pw_gid)

    def swap() -> None:
        owner.does(
            'cd .virtlayer-staging && mv "$1" moved && ln -s "$2" "$1"',
            *(left.name, victim.directory),
        )

    at(monkeypatch, former_staging, "remove_content", swap)
    await sweep.sweep(pool, _ROOT)
    assert list((left.parent / "moved").iterdir()) == []


# ---- placing and withdrawing directories ----


async def placed_directory(pools: Pools, pool: Pool) -> Placed:
    async with staging_in(pools, pool) as made:
        with opened(make_directory(made.descriptor, "root")) as directory:
            (path_of(made) / "root" / "inside").mkdir()
            return await place_directory(pool, made, "root", directory, "guest")


async def test_a_directory_is_not_placed_in_a_links_target(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    owner.does('ln -s "$1" guest', victim.directory)
    with pytest.raises(VolumeExists):
        await placed_directory(pools, pool)


async def test_a_directory_in_anothers_place_is_not_withdrawn(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    placed = await placed_directory(pools, pool)
    # The owner may rename a directory of root's that is in his own one.
    kept = pool.path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(_SECRET)
    owner.does("mv -T guest away && mv -T kept guest")
    await withdraw_volume(pools, pool, placed)
    assert (pool.path / "guest" / "file").read_bytes() == _SECRET
    owner.does('mv -T guest kept && ln -s "$1" guest', victim.directory)
    await withdraw_volume(pools, pool, placed)
    owner.does("rm guest && mv -T away guest")
    await withdraw_volume(pools, pool, placed)
    assert names_in(pool.path) == ["kept"]


async def test_a_file_that_is_swapped_before_it_is_withdrawn_stays(
    pools: Pools, pool: Pool, owner: Owner, victim: Victim
) -> None:
    async with staging_in(pools, pool) as made:
        (path_of(made) / "v1").write_bytes(b"1")
        with await flush_volume(pool, made, "v1") as flushed:
            placed = await place_volume(pool, flushed, "one")
    owner.replaces("one", victim.file)
    await withdraw_volume(pools, pool, placed)
    assert (pool.path / "one").readlink() == victim.file


async def test_a_cancelled_flush_closes_its_file(
    pools: Pools, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    ended, real = asyncio.Event(), os.fsync

    def fsync(descriptor: int) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        real(descriptor)
        loop.call_soon_threadsafe(ended.set)

    async with staging_in(pools, pool) as made:
        (path_of(made) / "v1").write_bytes(b"1")
        monkeypatch.setattr(os, "fsync", fsync)
        task = asyncio.create_task(flush_volume(pool, made, "v1"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        # A thread that is slow would otherwise look for a loop that is closed.
        await ended.wait()
