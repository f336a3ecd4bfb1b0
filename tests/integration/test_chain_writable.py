# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writable volumes are built, and a failure leaves nothing behind."""

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.chain_parts import SIZE, Chains, Store, request_for, small_layers
from tests.support.keeper import LocalPrograms, running_keeper
from tests.support.leftovers import children
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.pool_content import names_in
from tests.support.small_filesystem import small_filesystem
from virtlayer.errors import Internal, InvalidArgument, NoSpace, VolumeExists
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.writable import WritableRequest, build_writable
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.operations.placing import RecordedPlacing
from virtlayer.service.records.values import VolumeRecord
from virtlayer.service.synchronization.pool_records import PoolRecords
from virtlayer.service.workers.customization import CustomizationRequest, CustomizationWorker
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB


class Customizer:
    """A worker that first runs a hook of the test."""

    def __init__(self, worker: CustomizationWorker, first: Callable[[], Awaitable[None]]) -> None:
        self._worker, self._first = worker, first

    async def customize(self, request: CustomizationRequest) -> None:
        await self._first()
        await self._worker.customize(request)


async def nothing() -> None:
    pass


@pytest.fixture
async def customizer(
    keeper: Keeper,  # noqa: ARG001 -- it must end before keeper looks for what is left
) -> AsyncIterator[CustomizationWorker]:
    async with CustomizationWorker.started(LocalPrograms(), LayerSettings()) as started:
        yield started


@pytest.fixture
async def chain(keeper: Keeper, pool: Pool, worker: LayerWorker) -> tuple[Volume, ...]:
    contents = small_layers(2)
    store = Store(contents, worker)
    built = await Chains(keeper).build(request_for(pool, contents), store.tools())
    return built.volumes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume; see ``WritableRequest``."""

    pool: Pool
    chain: tuple[Volume, ...]
    customization: Customization
    name: str = "guest,<1>&more"


def request(pool: Pool, chain: tuple[Volume, ...], **changes: str) -> Wanted:
    customization = Customization(**changes)  # type: ignore[arg-type] # those that are str
    return Wanted(pool, chain, customization)


@contextlib.asynccontextmanager
async def placing_of(keeper: Keeper, wanted: Wanted) -> AsyncIterator[RecordedPlacing]:
    record = VolumeRecord(
        kind=RecordKind.VOLUME,
        name=wanted.name,
        image="demo:1",
        source="",
        digest=f"sha256:{'0' * 64}",
        config="{}",
        top=wanted.chain[-1].name,
    )
    with tempfile.TemporaryDirectory() as directory:
        async with Catalog(Path(directory) / "catalog") as catalog:
            async with RecordedPlacing(
                PoolRecords(keeper, catalog), wanted.pool, record
            ) as placing:
                yield placing
            recorded = [volume.name for volume in await catalog.volumes.list(wanted.pool.name)]
            assert recorded == [wanted.name]


def records_in(pool: Pool) -> list[Path]:
    return list(pool.path.glob(".virtlayer/*.json"))


async def build(
    keeper: Keeper,
    wanted: Wanted,
    worker: CustomizationWorker,
    first: Callable[[], Awaitable[None]] = nothing,
    *,
    check: Callable[[], Coroutine[object, object, None]] = nothing,
    on_registering: Callable[[], None] = lambda: None,
    on_built: Callable[[Volume], None] = lambda _: None,
) -> Volume:
    names = [volume.name for volume in wanted.chain]
    async with (
        keeper.claims.claimed(wanted.pool, [*names, wanted.name]) as claim,
        placing_of(keeper, wanted) as placing,
    ):
        asked = WritableRequest(
            claim=claim,
            name=wanted.name,
            backing=wanted.chain[-1].name,
            chain=tuple(names),
            size=SIZE,
            customization=wanted.customization,
            image="demo:1",
        )
        customizer = Customizer(worker, first)
        volume = await build_writable(
            keeper, asked, customizer, placing, check=check, on_registering=on_registering
        )
        on_built(volume)
        return volume


async def test_a_volume_belongs_to_its_owner_alone(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
) -> None:
    volume = await build(keeper, request(pool, chain, hostname="web"), customizer)
    assert (volume.format, volume.capacity) == ("qcow2", SIZE)
    assert (volume.backing_path, volume.backing_format) == (chain[-1].path, "qcow2")
    info = volume.path.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o600, os.geteuid())
    assert volume.name in host.virsh("vol-list", pool.name)


async def test_a_customization_that_fails_leaves_nothing(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
) -> None:
    before = host.volumes(pool.name)
    with pytest.raises(InvalidArgument, match='The image "demo:1" has no /etc/passwd'):
        await build(keeper, request(pool, chain, root_password_hash="$6$x"), customizer)
    assert host.volumes(pool.name) == before
    # The worker goes on after it has refused something.
    await build(keeper, request(pool, chain, hostname="web"), customizer)


async def test_a_failed_check_ends_a_customization_and_leaves_nothing(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
) -> None:
    before = host.volumes(pool.name)
    customizing = asyncio.Event()

    async def never_ends() -> None:
        customizing.set()
        await asyncio.Event().wait()

    async def check() -> None:
        await customizing.wait()
        raise VolumeExists("taken")

    wanted = request(pool, chain, hostname="web")
    with pytest.raises(VolumeExists, match="taken"):
        await build(
            keeper,
            wanted,
            customizer,
            never_ends,
            check=check,
            on_registering=lambda: pytest.fail("nothing is to be registered"),
        )
    assert host.volumes(pool.name) == before
    assert names_in(pool.path) == before


async def test_a_cancelled_customization_leaves_nothing(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
) -> None:
    before, processes = host.volumes(pool.name), children()
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.sleep(1000)

    task = asyncio.create_task(build(keeper, request(pool, chain, hostname="a"), customizer, hang))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.volumes(pool.name) == before
    assert children() == processes


@pytest.mark.parametrize("late", [0, 0.0005, 0.002, 0.01, 0.02])
async def test_late_cancellation_leaves_nothing(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
    late: float,
) -> None:
    before = host.volumes(pool.name)
    registering = asyncio.Event()
    wanted = request(pool, chain)
    built: list[Volume] = []
    building = build(
        keeper, wanted, customizer, on_registering=registering.set, on_built=built.append
    )
    task = asyncio.create_task(building)
    await registering.wait()
    await asyncio.sleep(late)
    task.cancel()
    await asyncio.wait([task])
    # On a fast machine it was finished before.
    made = [volume.name for volume in built]
    assert host.volumes(pool.name) == sorted([*before, *made])
    assert len(records_in(pool)) == len(made)


@pytest.mark.root
async def test_layers_that_libvirt_gave_to_roots_group_are_read(
    keeper: Keeper, pool: Pool, chain: tuple[Volume, ...], customizer: CustomizationWorker
) -> None:
    group = chain[0].path.stat().st_gid
    for volume in chain:
        os.chown(volume.path, 0, 0)
    await build(keeper, request(pool, chain, hostname="web"), customizer)
    assert {volume.path.stat().st_gid for volume in chain} == {group}


async def test_another_s_file_of_that_name_stays(
    keeper: Keeper, pool: Pool, chain: tuple[Volume, ...], customizer: CustomizationWorker
) -> None:
    wanted = request(pool, chain, hostname="web")
    other = pool.path / wanted.name

    async def overtaken() -> None:
        other.write_bytes(b"other")

    with pytest.raises(VolumeExists, match="during the job"):
        await build(keeper, wanted, customizer, overtaken)
    assert other.read_bytes() == b"other"
    assert records_in(pool) == []


async def test_cancelled_job_does_not_wait_for_the_lock_of_the_pool(
    keeper: Keeper, pool: Pool, chain: tuple[Volume, ...], customizer: CustomizationWorker
) -> None:
    """The lock is needed to place the volume with its record."""
    before = names_in(pool.path)
    registering = asyncio.Event()
    async with contextlib.AsyncExitStack() as locked:

        async def lock() -> None:
            await locked.enter_async_context(keeper.claims.locked(pool))

        wanted = request(pool, chain, hostname="web")
        building = build(keeper, wanted, customizer, lock, on_registering=registering.set)
        task = asyncio.create_task(building)
        await registering.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert names_in(pool.path) == before
    assert records_in(pool) == []


async def test_killed_worker_is_reported(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    chain: tuple[Volume, ...],
    customizer: CustomizationWorker,
) -> None:
    before = host.volumes(pool.name)

    async def killed() -> None:
        os.kill(customizer.pid, 9)

    with pytest.raises(Internal, match="SIGKILL"):
        await build(
            keeper, request(pool, chain, root_password_hash="$6$SECRET"), customizer, killed
        )
    assert host.volumes(pool.name) == before


async def test_full_pool_is_reported_and_left_unchanged() -> None:
    # A libvirtd of root's may not see what is mounted meanwhile.
    with session_host() as host:
        path = host.pool_directory("full")
        with small_filesystem(path, 24 * MIB):
            host.hand_over(path)
            host.start_pool("full", path)
            await _meet_full_pool(host, path)
            host.stop_pool("full")


async def _meet_full_pool(host: LibvirtHost, path: Path) -> None:
    async def fill() -> None:
        with contextlib.suppress(OSError), (path / "filler").open("wb") as filler:
            while filler.write(bytes(MIB)):
                filler.flush()

    contents = small_layers(1)
    async with (
        running_keeper(host.uri) as keeper,
        LayerWorker.started(LocalPrograms(), LayerSettings()) as worker,
        CustomizationWorker.started(LocalPrograms(), LayerSettings()) as customizer,
    ):
        pool = await keeper.pools.get("full")
        store = Store(contents, worker)
        built = await Chains(keeper).build(request_for(pool, contents), store.tools())
        wanted = request(pool, built.volumes, hostname="web")
        before = host.volumes("full")
        with pytest.raises(NoSpace, match=r'The pool "full" .* is full'):
            await build(keeper, wanted, customizer, fill)
        (path / "filler").unlink()
        assert host.volumes("full") == before
