# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which volumes are shared by images whose layers differ in compression, or only claim to."""

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import LayerContent, file, image, layer
from tests.support.libvirt_host import LibvirtHost
from tests.support.service_parts import pulled
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.operations.layers import look_at_layers
from virtlayer.service.operations.services import Services
from virtlayer.service.workers.layer import AppliedLayer, LayerRequest, LayerWorker

BASE = file("base", os.urandom(200_000))
GZIP, ZSTD, PLAIN = (layer(BASE, compression=kind) for kind in ("gzip", "zstd", "none"))


def top(text: str) -> LayerContent:
    return layer(file("top", text.encode()))


def asked_for(registry: FaultyRegistry, content: LayerContent) -> bool:
    return any(path.endswith(content.digest) for path in registry.requested)


@pytest.mark.parametrize("other", [ZSTD, PLAIN])
async def test_base_in_another_compression_is_shared(
    services: Services, pool: Pool, registry: FaultyRegistry, other: LayerContent
) -> None:
    first = await pulled(services, registry.store(image([GZIP, top("1")]), "one:1"), pool.name)
    two = registry.store(image([other, top("2")]), "two:1")
    second = await pulled(services, two, pool.name)
    assert (second.layers_built, second.layers_reused) == (1, 1)
    assert second.volumes[0] == first.volumes[0]
    assert second.volumes[1] != first.volumes[1]
    assert not asked_for(registry, other)

    # From now on this is known, also without the blob.
    for blob in (services.cache.directory / "sha256").iterdir():
        blob.unlink()
    again = await pulled(services, two, pool.name)
    assert (again.layers_built, again.bytes_downloaded, again.volumes) == (0, 0, second.volumes)
    third = await pulled(services, registry.store(image([other, top("3")]), "three:1"), pool.name)
    assert (third.layers_built, third.volumes[0]) == (1, first.volumes[0])


async def test_base_that_was_not_compressed_is_shared_without_its_blob(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    one = registry.store(image([PLAIN, top("1")]), "one:1")
    first = await pulled(services, one, pool.name, cache=False)
    second = await pulled(services, registry.store(image([GZIP, top("2")]), "two:1"), pool.name)
    assert (second.layers_built, second.volumes[0]) == (1, first.volumes[0])


async def test_base_whose_blob_is_not_in_the_cache_is_built_again(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    one = registry.store(image([GZIP, top("1")]), "one:1")
    first = await pulled(services, one, pool.name, cache=False)
    second = await pulled(services, registry.store(image([ZSTD, top("2")]), "two:1"), pool.name)
    assert second.layers_built == 2
    assert set(second.volumes).isdisjoint(first.volumes)
    # Its own volumes are those that the next pull finds.
    again = await pulled(services, registry.store(image([ZSTD, top("2")]), "two:1"), pool.name)
    assert (again.layers_built, again.volumes) == (0, second.volumes)


async def test_shared_base_is_needed_by_both_images(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    first = await pulled(services, registry.store(image([GZIP, top("1")]), "one:1"), pool.name)
    await pulled(services, registry.store(image([ZSTD, top("2")]), "two:1"), pool.name)
    async with services.claims.locked(pool) as lock:
        await services.records.delete(lock, RecordKind.IMAGE, "one:1")
        layers = await look_at_layers(services, lock)
    assert layers.removable(layers.known, layers.needed()) == first.volumes[1:]


async def test_base_that_was_deleted_behind_our_back_is_built_again(
    services: Services, pool: Pool, registry: FaultyRegistry, host: LibvirtHost
) -> None:
    first = await pulled(services, registry.store(image([GZIP]), "one:1"), pool.name)
    host.virsh("vol-delete", first.volume, "--pool", pool.name)
    second = await pulled(services, registry.store(image([ZSTD]), "two:1"), pool.name)
    assert (second.layers_built, second.layers_reused) == (1, 0)


EVIL = layer(file("base", b"evil"))
LYING = dataclasses.replace(EVIL, diff_id=GZIP.diff_id)
"""Its description in the config of its image."""


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that applies the evil layer, and says that it has the diff id of the base.

    A fake, because no blob is known that takes the real worker over.
    """
    apply = LayerWorker.apply

    async def lie(
        worker: LayerWorker, request: LayerRequest, on_bytes: Callable[[int], None]
    ) -> AppliedLayer:
        if f"layer {EVIL.digest} " in request.description:
            request = dataclasses.replace(request, diff_id=EVIL.diff_id)
        return await apply(worker, request, on_bytes)

    monkeypatch.setattr(LayerWorker, "apply", lie)


@pytest.mark.usefixtures("taken_over")
@pytest.mark.parametrize("cached", [True, False])
async def test_lying_worker_cannot_make_the_layer_of_another_image(
    services: Services,
    pool: Pool,
    registry: FaultyRegistry,
    cached: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    evil = registry.store(image([LYING]), "evil:1")
    wrong = await pulled(services, evil, pool.name, cache=cached)
    for content in (GZIP, ZSTD):
        good = await pulled(services, registry.store(image([content]), "good:1"), pool.name)
        assert good.volume != wrong.volume
        assert base_in(good.path) == BASE.data
    assert base_in(wrong.path) == b"evil"
    warned = [text for text in caplog.messages if "reported a wrong digest" in text]
    assert len(warned) == int(cached)
    assert all(wrong.volume in text for text in warned)


@pytest.mark.usefixtures("taken_over")
async def test_lying_worker_cannot_make_a_layer_in_the_middle_of_another_image(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    below = top("below")
    wrong = await pulled(services, registry.store(image([below, LYING]), "evil:1"), pool.name)
    good = await pulled(services, registry.store(image([below, ZSTD]), "good:1"), pool.name)
    assert (good.layers_built, good.volumes[0]) == (1, wrong.volumes[0])
    assert base_in(good.path) == BASE.data


def base_in(volume: Path) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory) / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", volume, raw], check=True)
        command: list[str | Path] = ["debugfs", "-R", "cat /base", raw]
        return subprocess.check_output(command, stderr=subprocess.DEVNULL)
