# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines are removed with their volumes, and what ended or unfinished ones leave is swept."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machines.making import created, stored
from tests.machines.test_create_domain import define, domains, machine_files
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.pool_user import qemu_img
from tests.support.service_parts import some_job
from tests.support.waiting import until
from virtlayer.cancellation import meanwhile
from virtlayer.errors import DomainNotFound, InUse
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.names import parse_domain_name, parse_pool_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.machines.watching import MachineWatch
from virtlayer.service.operations.machines.list_domains import list_domains
from virtlayer.service.operations.machines.remove_domain import RemoveDomainRequest, remove_domain
from virtlayer.service.operations.machines.sweeper import MachineSweeper
from virtlayer.service.operations.machines.sweeping import sweep_machines
from virtlayer.service.operations.prune import PruneRequest, prune
from virtlayer.service.operations.remove import RemoveRequest, remove
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import Machine, VolumeRecord

ELSEWHERE = "0" * 32
"""The id of another host."""


async def removed(services: Services, name: str, *, force: bool = False) -> tuple[str, ...]:
    """Remove a machine; the volumes that were deleted."""
    request = RemoveDomainRequest(name=parse_domain_name(name), force=force)
    return (await remove_domain(services, request, some_job())).volumes


async def pruned(services: Services, pool: Pool, *, dry_run: bool = False) -> set[str]:
    """The volumes that prune deletes, or would delete."""
    request = PruneRequest(pool=parse_pool_name(pool.name), dry_run=dry_run)
    return set((await prune(services, request, some_job())).volumes)


async def change(
    services: Services, pool: Pool, name: str, change: Callable[[Machine], Machine | None]
) -> None:
    """Change the machine in a record."""

    def changed(record: VolumeRecord | None) -> VolumeRecord:
        assert record is not None
        assert record.machine is not None
        return dataclasses.replace(record, machine=change(record.machine))

    async with services.claims.claimed(pool, []) as claim:
        await services.records.change_volume(claim, RecordKind.VOLUME, name, changed)


async def test_machine_is_removed_with_its_volume(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web")
    await created(services, pool, image, "db")
    assert [one.name for one in await list_domains(services)] == ["db", "web"]
    assert await removed(services, "web") == ("web.qcow2",)
    assert domains(host) == ["db"]
    assert [name for name in machine_files(pool) if "web" in name] == []
    assert len(machine_files(pool)) == 2
    # The layers and boot volumes are those of the other machine.
    assert await pruned(services, pool) == set()
    await removed(services, "db")
    boots = {name for name in names_in(pool.path) if name.startswith(("kernel-", "initrd-"))}
    assert len(boots) == 2
    assert await pruned(services, pool, dry_run=True) == boots
    assert await pruned(services, pool) == boots
    # The record of the image's kernels is used again.
    await created(services, pool, image, "web")


async def test_domain_of_another_program_is_not_found(
    services: Services, host: LibvirtHost, tmp_path: Path
) -> None:
    define(host, tmp_path, "foreign")
    with pytest.raises(DomainNotFound, match='"foreign"'):
        await removed(services, "foreign", force=True)
    assert await list_domains(services) == ()
    assert domains(host) == ["foreign"]


async def test_machine_with_an_overlay_is_not_removed(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web")
    overlay = pool.path / "snapshot.qcow2"
    options = ("-f", "qcow2", "-b", "web.qcow2", "-F", "qcow2")
    qemu_img("create", *options, str(overlay))
    host.virsh("pool-refresh", pool.name)
    with pytest.raises(InUse, match=r"snapshot\.qcow2"):
        await removed(services, "web")
    assert domains(host) == ["web"]
    overlay.unlink()
    host.virsh("pool-refresh", pool.name)
    assert await removed(services, "web") == ("web.qcow2",)


async def test_image_of_a_machine_is_in_use(services: Services, pool: Pool, tmp_path: Path) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web")
    request = RemoveRequest(pool=parse_pool_name(pool.name), image=image)
    with pytest.raises(InUse, match="web"):
        await remove(services, request, some_job())


async def test_unfinished_machine_is_swept(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    made = await created(services, pool, image, "web")
    host.virsh("undefine", "web")
    # The user may have kept the volume of a finished one.
    await sweep_machines(services, pool)
    assert "web.qcow2" in machine_files(pool)
    await change(
        services, pool, "web.qcow2", lambda machine: dataclasses.replace(machine, expendable=True)
    )
    async with services.claims.claimed(pool, ["web.qcow2"]):
        await sweep_machines(services, pool)
        assert "web.qcow2" in machine_files(pool)
    await change(
        services, pool, "web.qcow2", lambda machine: dataclasses.replace(machine, host=ELSEWHERE)
    )
    await sweep_machines(services, pool)
    assert machine_files(pool) == {"web.qcow2", f"config-{made.uuid}.raw"}
    assert await pruned(services, pool) == set()
    assert "web.qcow2" in machine_files(pool)
    await change(
        services, pool, "web.qcow2", lambda machine: dataclasses.replace(machine, host=host_id())
    )
    await sweep_machines(services, pool)
    assert machine_files(pool) == set()
    assert await services.catalog.volumes.list(pool.name) == ()


async def test_machine_whose_job_was_killed_at_the_end_is_kept(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web")
    await change(
        services, pool, "web.qcow2", lambda machine: dataclasses.replace(machine, expendable=True)
    )
    await sweep_machines(services, pool)
    record = await services.catalog.volumes.get(pool.name, RecordKind.VOLUME, "web.qcow2")
    assert record is not None
    assert record.machine is not None
    assert not record.machine.expendable


async def test_ephemeral_machine_that_has_ended_is_pruned(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    made = await created(services, pool, image, "web", ephemeral=True)
    assert [str(one.state) for one in await list_domains(services)] == ["created"]
    await sweep_machines(services, pool)
    assert await pruned(services, pool) == set()
    assert machine_files(pool) == {"web.qcow2", f"config-{made.uuid}.raw"}
    host.virsh("destroy", "web")
    doomed = await pruned(services, pool, dry_run=True)
    assert "web.qcow2" in doomed
    assert await pruned(services, pool) == doomed
    assert machine_files(pool) == set()


async def test_ephemeral_machine_is_swept_when_it_ends(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web", ephemeral=True)
    await created(services, pool, image, "db", ephemeral=True)
    watch = MachineWatch(services.keeper.domains)
    async with MachineSweeper(services) as sweeper, meanwhile(watch.run()):
        watch.subscribe(sweeper)
        # One ends before it is watched, as while no service runs.
        host.virsh("destroy", "db")
        sweeper.begin()
        await until(lambda: "db.qcow2" not in machine_files(pool))
        assert "web.qcow2" in machine_files(pool)
        host.virsh("destroy", "web")
        await until(lambda: not machine_files(pool))
    assert await services.catalog.volumes.list(pool.name) == ()


async def test_ephemeral_machine_that_was_not_started_is_removed(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    await created(services, pool, image, "web", ephemeral=True)
    assert await removed(services, "web") == ("web.qcow2",)
    assert machine_files(pool) == set()
