# SPDX-License-Identifier: LGPL-2.1-or-later
"""What machines have in a pool is listed and counted, and is removed only with them."""

import dataclasses
from pathlib import Path

import pytest

from tests.machines.making import created, stored
from tests.machines.test_remove_domain import ELSEWHERE, change, pruned
from tests.support.libvirt_host import LibvirtHost
from tests.support.service_parts import some_job
from virtlayer.errors import InUse, InvalidArgument, VolumeNotFound
from virtlayer.protocol.names import parse_pool_name, parse_volume_name
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.disk_usage import disk_usage
from virtlayer.service.operations.list_volumes import VolumeKind, list_volumes
from virtlayer.service.operations.remove_volume import RemoveVolumeRequest, remove_volume
from virtlayer.service.operations.services import Services


async def listed(services: Services, pool: Pool) -> dict[VolumeKind, set[str]]:
    """The volumes of a pool by their kinds."""
    found: dict[VolumeKind, set[str]] = {}
    for volume in await list_volumes(services, parse_pool_name(pool.name)):
        found.setdefault(volume.kind, set()).add(volume.name)
    return found


async def remove(services: Services, pool: Pool, name: str) -> None:
    """Remove a volume."""
    request = RemoveVolumeRequest(pool=parse_pool_name(pool.name), volume=parse_volume_name(name))
    await remove_volume(services, request, some_job())


async def test_volumes_of_machines_are_listed_and_counted(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    made = await created(services, pool, image, "web")
    host.virsh("pool-refresh", pool.name)
    found = await listed(services, pool)
    assert found[VolumeKind.VOLUME] == {"web.qcow2"}
    assert found[VolumeKind.CONFIGURATION] == {f"config-{made.uuid}.raw"}
    assert len(found[VolumeKind.BOOT]) == 2
    usage = await disk_usage(services, parse_pool_name(pool.name))
    sizes = sum((pool.path / name).stat().st_blocks * 512 for name in found[VolumeKind.BOOT])
    assert (usage.volumes, usage.boots, usage.boot_bytes) == (1, 2, sizes)
    assert (usage.prunable, usage.prunable_bytes) == (0, 0)
    host.virsh("undefine", "web")
    await remove(services, pool, "web.qcow2")
    usage = await disk_usage(services, parse_pool_name(pool.name))
    assert (usage.prunable, usage.prunable_bytes) == (0, sizes)
    assert await pruned(services, pool) == found[VolumeKind.BOOT]


async def test_volume_of_a_machine_is_in_use(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    made = await created(services, pool, image, "web")
    with pytest.raises(InUse, match='the domain "web"'):
        await remove(services, pool, "web.qcow2")
    for name in (*(await listed(services, pool))[VolumeKind.BOOT], f"config-{made.uuid}.raw"):
        with pytest.raises(InvalidArgument, match="machine"):
            await remove(services, pool, name)
    host.virsh("undefine", "web")
    await change(
        services, pool, "web.qcow2", lambda machine: dataclasses.replace(machine, host=ELSEWHERE)
    )
    with pytest.raises(InUse, match="another host"):
        await remove(services, pool, "web.qcow2")
    with pytest.raises(VolumeNotFound):
        await remove(services, pool, "missing.qcow2")
