# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers that are applied while their blobs arrive, which may turn out to be the wrong ones."""

import asyncio
import os

import pytest

from tests.support.chain_parts import Chains, Store, request_for
from tests.support.images import LayerContent, file, layer
from tests.support.keeper import LocalPrograms
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.waiting import until
from virtlayer.errors import DigestMismatch, MalformedLayer, RegistryUnavailable, VirtlayerError
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings

MIB = 1024**2


async def until_applied(store: Store) -> None:
    """Wait until the worker says that it has read a part of a blob."""
    await until(lambda: store.bytes_applied)


@pytest.fixture
def large() -> LayerContent:
    return layer(file("data", os.urandom(4 * MIB)))


async def test_half_a_blob_is_applied_before_the_other_half_is_there(
    keeper: Keeper, pool: Pool, worker: LayerWorker, large: LayerContent
) -> None:
    store = Store([large], worker)
    seen: list[int] = []

    async def half_way(_digest: str) -> None:
        await until_applied(store)
        seen.append(store.bytes_applied)
        assert store.stages == ["downloading"]
        assert names_in(pool.path) == []

    store.half_way = half_way
    built = await Chains(keeper).build(request_for(pool, [large]), store.tools())
    assert 0 < seen[0] <= large.size // 2
    assert [volume.name for volume in built.volumes] == names_in(pool.path)
    assert store.stages == ["downloading", "applying", "registering"]


@pytest.mark.parametrize(
    "failure", [DigestMismatch("it is another blob"), RegistryUnavailable("it died")], ids=str
)
async def test_a_blob_that_is_not_verified_is_never_committed(
    host: LibvirtHost,
    keeper: Keeper,
    pool: Pool,
    worker: LayerWorker,
    large: LayerContent,
    failure: VirtlayerError,
) -> None:
    store = Store([large], worker)

    async def half_way(_digest: str) -> None:
        await until_applied(store)
        raise failure

    store.half_way = half_way
    with pytest.raises(type(failure), match=str(failure)):
        await Chains(keeper).build(request_for(pool, [large]), store.tools())
    assert names_in(pool.path) == []
    assert host.volumes(pool.name) == []
    assert store.recorded == []
    assert store.lent == 0


async def test_digest_mismatch_takes_precedence_over_worker_error(
    keeper: Keeper, pool: Pool, worker: LayerWorker
) -> None:
    broken = layer(blob=b"no archive at all " * 100_000, diff_id="sha256:" + "0" * 64)
    store = Store([broken], worker)

    async def half_way(_digest: str) -> None:
        await until_applied(store)
        # Time enough for the worker to refuse it: its reason is not the one that counts.
        await asyncio.sleep(0.2)
        raise DigestMismatch("it is another blob")

    store.half_way = half_way
    with pytest.raises(DigestMismatch, match="another blob"):
        await Chains(keeper).build(request_for(pool, [broken]), store.tools())

    async with LayerWorker.started(LocalPrograms(), LayerSettings()) as other:
        with pytest.raises(MalformedLayer):
            await Chains(keeper).build(request_for(pool, [broken]), Store([broken], other).tools())
    assert names_in(pool.path) == []
