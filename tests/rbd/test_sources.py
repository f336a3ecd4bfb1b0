# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls of one image from different sources, which do not wait for each other."""

import asyncio
from pathlib import Path

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import image
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import some_layers
from tests.support.service_parts import pulled, service_parts
from tests.support.waiting import until


async def test_both_build_and_share_what_was_placed_first(
    ceph: OneNodeCeph,
    pool: CephPool,
    host: LibvirtHost,
    registry: FaultyRegistry,
    tmp_path: Path,
) -> None:
    pool.define_in(host, "sources")
    layers = some_layers("north", "east", "south", "west")
    content = image(layers)
    sources = [registry.store(content, f"{name}/demo:1") for name in ("one", "two", "three")]
    registry.faults[layers[0].digest] = Fault.HANG
    async with service_parts(host, tmp_path, session=False) as services:
        pulls = [
            asyncio.create_task(pulled(services, source, "sources", name=name))
            for source, name in zip(sources, ("one", "two", "three"), strict=True)
        ]
        await until(
            lambda: sum(path.endswith(layers[0].digest) for path in registry.requested) >= 3
        )
        del registry.faults[layers[0].digest]
        registry.release()
        results = await asyncio.gather(*pulls)
    assert len({result.volumes for result in results}) == 1
    assert ceph.images(pool.name) == sorted(results[0].volumes)
