# SPDX-License-Identifier: LGPL-2.1-or-later
"""CreateDomain makes a volume, boot volumes and a domain, and leaves nothing if it fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.machines.making import KERNEL, cancelled_in, created, request, stored
from tests.support.images import directory, file, image, layer, write_layout
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.pool_user import DOMAIN, qemu_img
from tests.support.service_parts import some_job
from tests.support.sources import PLAIN
from virtlayer.errors import (
    DomainExists,
    ImageNotFound,
    InUse,
    InvalidArgument,
    NoKernel,
    Unsupported,
    VirtlayerError,
    VolumeExists,
)
from virtlayer.protocol.domains import Network, NetworkKind
from virtlayer.protocol.names import parse_pool_name, parse_volume_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.machines.networks import parse_network, parse_ports
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.create_domain import create_domain
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.operations.services import Services
from virtlayer.service.source.reference import parse_reference

SECRET = "swordfish-2kd8"
OWN = ("layer-", "kernel-", "initrd-", ".virtlayer")


def domains(host: LibvirtHost) -> list[str]:
    """All domains of libvirt."""
    return host.virsh("list", "--all", "--name").split()


def define(host: LibvirtHost, place: Path, name: str) -> None:
    """Define a domain as another program does."""
    description = place / f"{name}.xml"
    description.write_text(DOMAIN.format(name=name, disk="/dev/null"))
    host.virsh("define", str(description))


def machine_files(pool: Pool | Path) -> set[str]:
    """What a pool has in addition to layers and boot volumes."""
    path = pool if isinstance(pool, Path) else pool.path
    return {name for name in names_in(path) if not name.startswith(OWN)}


async def test_machine_has_a_volume_and_boot_volumes(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    made = await created(services, pool, image, "web")
    assert (made.name, made.volume, made.image, made.started) == ("web", "web.qcow2", "demo", False)
    assert domains(host) == ["web"]
    assert host.virsh("domuuid", "web").strip() == made.uuid
    record = await services.catalog.volumes.get(pool.name, RecordKind.VOLUME, "web.qcow2")
    assert record is not None
    assert record.machine is not None
    assert (record.machine.domain, record.machine.expendable) == (made.uuid, False)
    assert set(record.machine.boot_volumes) <= set(names_in(pool.path))
    assert machine_files(pool) == {"web.qcow2", f"config-{made.uuid}.raw"}


async def test_machines_without_a_name_get_different_ones(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "team/demo:1", tmp_path)
    define(host, tmp_path, "demo-1")
    qemu_img("create", "-f", "qcow2", str(pool.path / "demo-2.qcow2"), "64M")
    made = await asyncio.gather(*(created(services, pool, image) for _ in range(3)))
    assert {one.name for one in made} == {"demo-3", "demo-4", "demo-5"}
    # The second machine of an image uses the boot volumes of the first.
    boots = [name for name in names_in(pool.path) if name.startswith(("kernel-", "initrd-"))]
    assert len(boots) == 2


async def test_variables_are_only_in_the_configuration(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    startup = StartupOptions(command=("run", "it"), environment=(f"TOKEN={SECRET}",))
    made = await created(services, pool, image, "web", startup=startup)
    config = pool.path / f"config-{made.uuid}.raw"
    assert SECRET.encode() in config.read_bytes()
    assert config.stat().st_mode & 0o777 == 0o600
    assert SECRET not in host.virsh("dumpxml", "web", "--security-info")
    for path in pool.path.glob(".virtlayer/**/*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    assert SECRET not in repr(made)


async def refused(services: Services, pool: Pool, image: str, **more: Any) -> VirtlayerError:
    """Why a machine is not made; nothing is made then."""
    before = names_in(pool.path)
    with pytest.raises(VirtlayerError) as caught:
        await created(services, pool, image, **more)
    assert names_in(pool.path) == before
    return caught.value


async def test_what_can_be_checked_is_checked_before_anything_is_made(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    define(host, tmp_path, "foreign")
    qemu_img("create", "-f", "qcow2", str(pool.path / "taken.qcow2"), "64M")

    async def error(**more: Any) -> VirtlayerError:
        return await refused(services, pool, image, **more)

    assert isinstance(await error(name="foreign"), DomainExists)
    assert isinstance(await refused(services, pool, "missing", name="web"), ImageNotFound)
    assert isinstance(await error(name="web", memory=2**49), InvalidArgument)
    network = Network(kind=NetworkKind.NETWORK, name="missing")
    assert isinstance(await error(name="web", network=network), InvalidArgument)
    assert isinstance(await error(name="web", user_data=b"#cloud-config"), InvalidArgument)
    assert domains(host) == ["foreign"]
    # Boot volumes may be made before these.
    with pytest.raises(VolumeExists):
        await created(services, pool, image, "taken")
    assert machine_files(pool) == {"taken.qcow2"}


async def test_port_in_use_is_reported_before_anything_is_made(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        network = parse_network(None, parse_ports([("127.0.0.1", port, 80, "tcp")]))
        error = await refused(services, pool, image, name="web", network=network)
    assert isinstance(error, InUse | Unsupported), error


async def test_image_that_cannot_be_started_is_refused(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path, Cmd=[], Entrypoint=None)
    with pytest.raises(InvalidArgument, match="nothing to start"):
        await created(services, pool, image, "web")
    image = await stored(services, pool, "other", tmp_path, Env=["A"])
    assert isinstance(await refused(services, pool, image), InvalidArgument)
    entries = [directory("sbin"), file("sbin/init", b"", mode=0o755)]
    image = await stored(services, pool, "init", tmp_path, *entries, Cmd=[], Entrypoint=None)
    made = await created(services, pool, image, "with-init")
    assert machine_files(pool) == {"with-init.qcow2", f"config-{made.uuid}.raw"}


async def test_source_is_pulled_after_the_checks(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    content = image([layer(*KERNEL)], config={"config": {"Cmd": ["/run"]}})
    layout = write_layout(tmp_path / "layout", {"1": content})
    source = parse_reference(f"oci:{layout}:1")
    pull = PullRequest(source=source, pool=parse_pool_name(pool.name), access=PLAIN)
    define(host, tmp_path, "foreign")
    error = await refused(services, pool, pull.image_name, name="foreign", pull=pull)
    assert isinstance(error, DomainExists)
    made = await created(services, pool, pull.image_name, pull=pull)
    assert (made.name, made.image, made.digest) == ("layout-1", "layout:1", content.digest)


async def test_kernel_of_an_image_without_one_is_refused(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    empty = await stored(services, pool, "empty", tmp_path, kernel=False)
    error = await refused(services, pool, image, name="web", kernel=empty)
    assert isinstance(error, NoKernel)


@pytest.mark.parametrize(
    "stage", [Stage.PREPARING_BOOT, Stage.CUSTOMIZING, Stage.REGISTERING, Stage.DEFINING]
)
async def test_cancellation_leaves_nothing(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path, stage: Stage
) -> None:
    image = await stored(services, pool, "demo", tmp_path)
    volume = NewVolume(name=parse_volume_name("unnamed"), hostname="web")
    await cancelled_in(stage, services, request(pool.name, image, "web", volume=volume))
    assert domains(host) == []
    assert machine_files(pool) == set()
    assert await services.catalog.volumes.list(pool.name) == ()
    # The name and the image can be used again.
    await create_domain(services, request(pool.name, image, "web"), some_job())
