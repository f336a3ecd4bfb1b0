# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines whose disks are RBD images: their files on this host, and what is left of them."""

import hashlib
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.machines.making import created, stored
from tests.support.boot_images import small_kernel
from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import nothing_left
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.service_parts import service_parts, some_job
from virtlayer.errors import DomainFailed, InUse, VolumeNotFound
from virtlayer.protocol.domains import Control, State
from virtlayer.protocol.names import (
    parse_domain_name,
    parse_image_name,
    parse_pool_name,
    parse_volume_name,
)
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.machines.describe_domain import describe_domain
from virtlayer.service.operations.machines.new_domain import CreatedDomain
from virtlayer.service.operations.machines.remove_domain import RemoveDomainRequest, remove_domain
from virtlayer.service.operations.machines.start_domain import StartDomainRequest, start_domain
from virtlayer.service.operations.prune import PruneRequest, prune
from virtlayer.service.operations.remove import RemoveRequest, remove
from virtlayer.service.operations.remove_volume import RemoveVolumeRequest, remove_volume
from virtlayer.service.operations.services import Services

SECRET = "swordfish-2kd8"


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    """A libvirtd of the test's own, whose machines virtlayer makes."""
    with machine_host() as host:
        yield host


@pytest.fixture
async def services(
    host: LibvirtHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """The parts of a service that uses that libvirtd, checked for leaks."""
    # In a session, the local files are there.
    monkeypatch.setenv("XDG_DATA_HOME", str(host.directory / "data"))
    with nothing_left():
        async with service_parts(host, tmp_path) as parts:
            yield parts


@pytest.fixture
async def images(host: LibvirtHost, services: Services, pool: CephPool) -> Pool:
    """The pool of the test, as libvirt has it."""
    pool.define_in(host, pool.name)
    return await services.pools.get(pool.name)


def local_directory(host: LibvirtHost) -> Path:
    """Where the local files of machines are, seen from outside."""
    if host.session:
        return host.directory / "data/virtlayer/boot"
    return host.directory / "private/var/lib/virtlayer/boot"


def local_files(host: LibvirtHost) -> set[str]:
    """The names of the local files of machines."""
    return {one.name for one in local_directory(host).iterdir() if one.is_file()}


async def made_machine(
    services: Services, images: Pool, directory: Path, **more: Any
) -> CreatedDomain:
    """Make the machine "web", with a kernel that no machine could boot; it is not started."""
    image = await stored(services, images, "demo", directory)
    return await created(services, images, image, "web", **more)


async def control(services: Services, machine: CreatedDomain, action: Control) -> State | None:
    """Do something to the domain of a machine, without waiting for its init."""
    [known] = (await services.keeper.domains.list()).domains
    return await services.keeper.domains.control(machine.uuid, known.pool, action)


async def start(services: Services) -> None:
    request = StartDomainRequest(name=parse_domain_name("web"))
    await start_domain(services, request, some_job())


async def remove_machine(services: Services) -> tuple[str, ...]:
    request = RemoveDomainRequest(name=parse_domain_name("web"))
    return (await remove_domain(services, request, some_job())).volumes


async def test_machine_has_an_image_and_local_files(
    services: Services,
    host: LibvirtHost,
    images: Pool,
    ceph: OneNodeCeph,
    pool: CephPool,
    tmp_path: Path,
) -> None:
    made = await made_machine(services, images, tmp_path)
    assert (made.volume, made.path) == ("web", Path(f"{pool.name}/web"))
    kernel = f"kernel-{hashlib.sha256(small_kernel()).hexdigest()}"
    [initrd] = [name for name in local_files(host) if name.startswith("initrd-")]
    assert local_files(host) == {kernel, initrd, f"config-{made.uuid}.raw"}
    assert {"web", kernel, initrd} <= set(ceph.images(pool.name))
    config = local_directory(host) / f"config-{made.uuid}.raw"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600

    text = host.virsh("dumpxml", "--inactive", "web")
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    sources = [dict(one.attrib) for one in root.iterfind("devices/disk/source")]
    assert sources[0] | {"index": ""} == {
        "protocol": "rbd",
        "name": f"{pool.name}/web",
        "index": "",
    }
    assert pool.key not in text
    described = await describe_domain(services, parse_domain_name("web"))
    assert (described.volume, described.pool, described.image) == ("web", pool.name, "demo")

    request = RemoveVolumeRequest(pool=parse_pool_name(pool.name), volume=parse_volume_name("web"))
    with pytest.raises(InUse, match="web"):
        await remove_volume(services, request, some_job())
    assert await remove_machine(services) == ("web",)
    assert "web" not in ceph.images(pool.name)
    assert local_files(host) == {kernel, initrd}


async def test_nothing_is_left_of_a_machine_and_its_image(
    services: Services,
    host: LibvirtHost,
    images: Pool,
    ceph: OneNodeCeph,
    pool: CephPool,
    tmp_path: Path,
) -> None:
    await made_machine(services, images, tmp_path)
    # The cluster counts a QEMU that was killed as a client for 30 s.
    with ceph.watched(f"{pool.name}/web"), pytest.raises(InUse, match=r"client at.*prune"):
        await remove_machine(services)
    assert host.virsh("list", "--all", "--name") == ""
    assert "web" in ceph.images(pool.name)
    name = parse_pool_name(pool.name)
    await prune(services, PruneRequest(pool=name), some_job())
    assert "web" not in ceph.images(pool.name)
    request = RemoveRequest(pool=name, image=parse_image_name("demo"))
    await remove(services, request, some_job())
    await prune(services, PruneRequest(pool=name), some_job())
    assert ceph.images(pool.name) == []
    assert local_files(host) == set()


async def test_missing_kernel_is_restored_if_it_is_intact_in_the_pool(
    services: Services,
    host: LibvirtHost,
    images: Pool,
    ceph: OneNodeCeph,
    pool: CephPool,
    tmp_path: Path,
) -> None:
    made = await made_machine(services, images, tmp_path)
    directory = local_directory(host)
    [kernel], [initrd] = directory.glob("kernel-*"), directory.glob("initrd-*")
    kernel.unlink()
    initrd.unlink()
    assert await control(services, made, Control.START) is State.RUNNING
    await control(services, made, Control.DESTROY)
    for file in (kernel, initrd):
        assert file.name.endswith(hashlib.sha256(file.read_bytes()).hexdigest())
    kernel.unlink()
    write = ("--io-type", "write", "--io-size", "4096", "--io-total", "4096")
    ceph.rbd("bench", *write, f"{pool.name}/{kernel.name}")
    with pytest.raises(VolumeNotFound, match=f'"rbd rm {pool.name}/{kernel.name}"'):
        await control(services, made, Control.START)
    assert host.virsh("domstate", "web") == "shut off"
    assert not kernel.exists()


async def test_missing_configuration_is_an_error(
    services: Services, host: LibvirtHost, images: Pool, tmp_path: Path
) -> None:
    made = await made_machine(services, images, tmp_path)
    config = local_directory(host) / f"config-{made.uuid}.raw"
    config.unlink()
    with pytest.raises(DomainFailed, match=f"{config.name} is missing.*Restore the file"):
        await start(services)
    await remove_machine(services)
    assert f"config-{made.uuid}.raw" not in local_files(host)


async def test_machine_without_its_volume_is_not_started(
    services: Services,
    host: LibvirtHost,
    images: Pool,
    ceph: OneNodeCeph,
    pool: CephPool,
    tmp_path: Path,
) -> None:
    made = await made_machine(services, images, tmp_path)
    # It needs no pool of libvirt.
    host.virsh("pool-destroy", pool.name)
    assert await control(services, made, Control.START) is State.RUNNING
    await control(services, made, Control.DESTROY)
    host.virsh("pool-start", pool.name)
    ceph.rbd("rm", f"{pool.name}/web")
    with pytest.raises(VolumeNotFound, match="web"):
        await start(services)
