# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds that fail or are cancelled: their own error, finished volumes kept, nothing else left."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chain_parts import Chains, Store, request_for, small_layers
from tests.support.images import LayerContent, directory, file, layer
from tests.support.keeper import LocalPrograms, running_keeper
from tests.support.leftovers import children, nothing_left
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.pool_content import left_by_jobs, names_in
from tests.support.small_filesystem import small_filesystem
from tests.support.waiting import until
from virtlayer.errors import (
    DigestMismatch,
    Internal,
    NoSpace,
    PoolInactive,
    PoolNotFound,
    RegistryUnavailable,
    VirtlayerError,
)
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

MIB = 1024**2


def names_of(pool: Pool, contents: list[LayerContent]) -> list[str]:
    return sorted(planned.name for planned in request_for(pool, contents).plan)


async def test_failed_layer_keeps_finished_layers(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    good = small_layers(2)
    bad = layer(file("x"), diff_id="sha256:" + "0" * 64)
    contents = [*good, bad, *small_layers(2, first=5)]

    async def until_placed(diff_id: str) -> None:
        await until(lambda: diff_id != bad.diff_id or len(store.placed) >= len(good))

    store = Store(contents, worker, before_apply=until_placed)
    with pytest.raises(DigestMismatch, match=r"layer sha256:.* of docker://registry"):
        await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert host.volumes(pool.name) == names_in(pool.path) == names_of(pool, good)
    assert sorted(store.recorded) == names_of(pool, good)
    assert store.lent == 0


async def test_a_download_that_fails_ends_the_build(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = small_layers(6)

    def fail(digest: str) -> None:
        if digest == contents[3].digest:
            raise RegistryUnavailable("it died")

    store = Store(contents, worker, before_fetch=fail)
    with pytest.raises(RegistryUnavailable, match="it died"):
        await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert set(names_in(pool.path)) <= set(names_of(pool, contents[:3]))
    assert host.volumes(pool.name) == names_in(pool.path)
    assert store.lent == 0


@pytest.mark.parametrize("stage", ["before_fetch", "before_apply"])
async def test_cancelling_leaves_only_finished_volumes(
    host: LibvirtHost, keeper: Keeper, pool: Pool, worker: LayerWorker, stage: str
) -> None:
    contents = small_layers(4)
    reached = asyncio.Event()

    async def hang(digest: str) -> None:
        if digest in (contents[2].digest, contents[2].diff_id):
            reached.set()
            await asyncio.sleep(1000)

    store = Store(contents, worker)
    setattr(store, stage, hang)
    before = children()
    task = asyncio.create_task(Chains(keeper).build(request_for(pool, contents), store.tools()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The worker has ended as well if it was cancelled in the middle of a layer.
    assert children() in (before, before - {worker.pid})
    assert store.lent == 0
    assert left_by_jobs(pool.path) == []
    assert set(names_in(pool.path)) <= set(names_of(pool, contents[:2]))
    assert host.volumes(pool.name) == names_in(pool.path)

    # A worker belongs to one job: after a cancellation it is somewhere in the middle.
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as other:
        finish = Store(contents, other)
        await Chains(keeper).build(request_for(pool, contents), finish.tools())
    assert names_in(pool.path) == names_of(pool, contents)


async def test_cancelling_at_any_moment_leaves_a_sound_pool(
    host: LibvirtHost, keeper: Keeper, pool: Pool
) -> None:
    contents = small_layers(3)
    before = children()
    for moment in range(0, 120, 12):
        async with LayerWorker.started(LocalPrograms(), LayerSettings()) as worker:
            store = Store(contents, worker)
            task = asyncio.create_task(
                Chains(keeper).build(request_for(pool, contents), store.tools())
            )
            await asyncio.sleep(moment / 1000)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert children() == before
        assert set(names_in(pool.path)) <= set(names_of(pool, contents))
        assert host.volumes(pool.name) == names_in(pool.path)
    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as worker:
        built = await Chains(keeper).build(
            request_for(pool, contents), Store(contents, worker).tools()
        )
    assert len(built.volumes) == 3


async def test_a_server_that_dies_is_an_error_and_not_a_hang(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = [layer(file("large", os.urandom(8 * MIB)))]
    before = children()

    def kill_server(_diff_id: str) -> None:
        (server,) = children() - before
        os.kill(server, signal.SIGKILL)

    store = Store(contents, worker, before_apply=kill_server)
    with pytest.raises(VirtlayerError) as raised:
        await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert isinstance(raised.value, Internal)
    assert names_in(pool.path) == []


@pytest.mark.parametrize(
    ("command", "error"), [("pool-destroy", PoolInactive), ("pool-undefine", PoolNotFound)]
)
async def test_pool_that_disappears_during_the_build_is_reported(
    host: LibvirtHost,
    keeper: Keeper,
    worker: LayerWorker,
    command: str,
    error: type[VirtlayerError],
) -> None:
    name = f"mortal-{command}"
    path = host.start_pool(name)
    pool = await keeper.pools.get(name)
    contents = small_layers(2)

    def stop(diff_id: str) -> None:
        if diff_id == contents[1].diff_id:
            host.virsh("pool-destroy", name)
            if command == "pool-undefine":
                host.virsh("pool-undefine", name)

    store = Store(contents, worker, before_apply=stop)
    with pytest.raises(error):
        await Chains(keeper).build(request_for(pool, contents), store.tools())
    assert left_by_jobs(path) == []
    # Finished volumes stay complete until the pool is available again.
    assert set(names_in(pool.path)) <= set(names_of(pool, contents))
    if command == "pool-destroy":
        host.virsh("pool-undefine", name)


async def test_a_restart_of_libvirtd_during_the_build_is_tolerated(
    worker: LayerWorker,
) -> None:
    contents = small_layers(3)
    with session_host() as mortal:
        mortal.start_pool("default")

        def restart(diff_id: str) -> None:
            if diff_id == contents[1].diff_id:
                mortal.restart()

        async with running_keeper(mortal.uri) as keeper:
            pool = await keeper.pools.get("default")
            store = Store(contents, worker, before_apply=restart)
            built = await Chains(keeper).build(request_for(pool, contents), store.tools())
        assert mortal.volumes("default") == sorted(volume.name for volume in built.volumes)


@pytest.fixture
def small_host() -> Iterator[tuple[LibvirtHost, Path]]:
    """A pool that is nearly full: 24 MiB in all."""
    with session_host() as host:
        path = host.pool_directory("small")
        with small_filesystem(path, 24 * MIB):
            host.hand_over(path)
            host.start_pool("small", path)
            yield host, path
            host.stop_pool("small")


async def test_full_pool_is_nospace_and_unchanged(
    small_host: tuple[LibvirtHost, Path],
) -> None:
    host, path = small_host
    base = small_layers(1)
    contents = [*base, layer(directory("d"), file("d/large", os.urandom(40 * MIB)))]
    with nothing_left():
        async with (
            running_keeper(host.uri) as keeper,
            LayerWorker.started(LocalPrograms(), LayerSettings()) as worker,
        ):
            pool = await keeper.pools.get("small")
            store = Store(contents, worker)
            with pytest.raises(NoSpace, match=r'The pool "small" .* is full: .* available'):
                await Chains(keeper).build(request_for(pool, contents), store.tools())
            # The layer does not stop at the size of the file system that it is in, but of the pool.
            assert host.volumes("small") == names_in(pool.path) == names_of(pool, base)
            free = os.statvfs(path)
            assert free.f_bavail * free.f_frsize > 16 * MIB


async def test_layer_larger_than_its_volume_is_nospace_with_sizes(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    contents = [layer(file("large", os.urandom(80 * MIB), mode=0o644), compression="none")]
    with pytest.raises(NoSpace, match=r"\d"):
        await Chains(keeper).build(request_for(pool, contents), Store(contents, worker).tools())
    assert names_in(pool.path) == []
