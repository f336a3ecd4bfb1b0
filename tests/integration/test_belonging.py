# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reuse of local images, disks and recompressed layers by a service with several callers."""

import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.faulty_registry import FaultyRegistry
from tests.support.images import Content, LayerContent, file, image, layer, write_layout
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.service_parts import pulled, pulled_disk, service_parts
from virtlayer.errors import DigestMismatch, ImageNotFound, VirtlayerError
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.services import Services
from virtlayer.service.source.access import Access
from virtlayer.sizes import MIB

ALICE, MALLORY = 1001, 1002
BASE = file("base", os.urandom(200_000))
GZIP, ZSTD = (layer(BASE, compression=kind) for kind in ("gzip", "zstd"))
LOGIN = Access(username="alice", password="swordfish", tls_verify=False)
"""With it, content belongs to nobody, because TLS is not verified."""


@pytest.fixture
async def services(
    host: LibvirtHost,
    pool: Pool,  # noqa: ARG001 -- it is made before, and removed after
    tmp_path: Path,
) -> AsyncIterator[Services]:
    with nothing_left():
        async with service_parts(host, tmp_path, session=False) as services:
            yield services


def layout(path: Path, content: Content, *missing: str) -> str:
    """Write a layout that lacks some blobs; return its reference."""
    write_layout(path, {"1": content})
    for digest in missing:
        (path / "blobs" / digest.replace(":", "/")).unlink()
    return f"oci:{path}:1"


def _incomplete(content: LayerContent | Content) -> str:
    """The error about a layout that lacks the blob of a layer, or the config of an image."""
    digest = content.digest if isinstance(content, LayerContent) else content.config_digest
    return f"the image is incomplete: .*/blobs/{digest.replace(':', '/')} does not exist"


async def test_content_of_a_local_image_is_its_callers(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    content = image([GZIP])
    whole = layout(tmp_path / "whole", content)
    names = layout(tmp_path / "names", content, GZIP.digest)
    first = await pulled(services, whole, pool.name, uid=ALICE)
    assert (first.layers_built, first.bytes_downloaded) == (1, GZIP.size)

    again = await pulled(services, names, pool.name, uid=ALICE)
    assert (again.layers_built, again.bytes_downloaded) == (0, 0)
    for uid in (MALLORY, 0):
        with pytest.raises(VirtlayerError, match=_incomplete(GZIP)):
            await pulled(services, names, pool.name, uid=uid)
    other = await pulled(services, whole, pool.name, uid=MALLORY)
    assert (other.layers_built, other.bytes_downloaded) == (0, GZIP.size)
    assert (await pulled(services, names, pool.name, uid=MALLORY)).bytes_downloaded == 0


async def test_config_of_a_local_image_is_its_callers(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    content = image([GZIP], config={"config": {"Env": ["TOKEN=hunter2"]}})
    await pulled(services, layout(tmp_path / "whole", content), pool.name, uid=ALICE)
    names = layout(tmp_path / "names", content, content.config_digest)
    assert (await pulled(services, names, pool.name, uid=ALICE)).bytes_downloaded == 0
    with pytest.raises(VirtlayerError, match=_incomplete(content)):
        await pulled(services, names, pool.name, uid=MALLORY)


async def test_cached_disk_is_its_callers(services: Services, pool: Pool, tmp_path: Path) -> None:
    disk = layer(file("disk/disk.img", b"\x01" * MIB))
    content = image([disk])
    whole = layout(tmp_path / "whole", content)
    names = layout(tmp_path / "names", content, disk.digest)
    await pulled_disk(services, whole, pool.name, "one", uid=ALICE)
    again = await pulled_disk(services, names, pool.name, "two", uid=ALICE)
    assert again.bytes_downloaded == 0
    with pytest.raises(VirtlayerError, match=_incomplete(disk)):
        await pulled_disk(services, names, pool.name, "three", uid=MALLORY)
    assert await services.pools.volume(pool, "three") is None


async def test_layer_of_others_is_not_shared_with_another_blob_that_claims_to_be_it(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    source = registry.store(image([GZIP]), "private:1")
    await pulled(services, source, pool.name, uid=ALICE, access=LOGIN)
    # To download something else proves nothing.
    claim = dataclasses.replace(layer(file("else")), diff_id=GZIP.diff_id)
    with pytest.raises(DigestMismatch):
        await pulled(services, registry.store(image([claim]), "own:1"), pool.name, uid=MALLORY)
    # What is really the same is built again: it is not known whether it is to be shared.
    two = registry.store(image([ZSTD]), "two:1")
    other = await pulled(services, two, pool.name, uid=MALLORY)
    assert (other.layers_built, other.bytes_downloaded) == (1, ZSTD.size)


async def test_public_content_without_owner_is_reused(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    source = registry.store(image([GZIP]), "demo:1")
    counts = []
    for access in (LOGIN, LOGIN, Access(tls_verify=False), LOGIN):
        result = await pulled(services, source, pool.name, access=access)
        counts.append((result.layers_built, result.bytes_downloaded))
    assert counts == [(1, GZIP.size), (0, GZIP.size), (0, GZIP.size), (0, 0)]


@pytest.mark.parametrize("configured", [True, False])
async def test_cas_of_a_configured_image_count_and_those_of_a_caller_do_not(
    services: Services, pool: Pool, tmp_path: Path, configured: bool
) -> None:
    with Registry(tmp_path / "registry", tls=True, htpasswd=("alice", "swordfish")) as private:
        source = private.store(image([GZIP]), "team/demo:1")
        access = dataclasses.replace(
            LOGIN, tls_verify=True, cert_dir=private.cert_dir, configured=configured
        )
        results = [await pulled(services, source, pool.name, access=access) for _ in range(2)]
    again = 0 if configured else GZIP.size
    assert [result.bytes_downloaded for result in results] == [GZIP.size, again]
    assert results[1].layers_built == 0


async def test_failed_pull_gives_no_right(
    services: Services, pool: Pool, registry: FaultyRegistry
) -> None:
    """A blob that the registry does not have leaves nothing that a second pull could use."""
    content = image([GZIP])
    source = registry.store(content, "private:1")
    await pulled(services, source, pool.name, uid=ALICE, access=LOGIN)
    names = dataclasses.replace(
        content, blobs={content.config_digest: content.blobs[content.config_digest]}
    )
    own = registry.store(names, "own:1")
    for _ in range(2):
        with pytest.raises(ImageNotFound):
            await pulled(services, own, pool.name, uid=MALLORY)
    assert await services.catalog.get(pool.name, "own:1") is None
