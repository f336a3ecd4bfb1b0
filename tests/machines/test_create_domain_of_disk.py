# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of a disk image: an overlay of the disk, and a seed for cloud-init."""

from pathlib import Path
from typing import Any

import pytest

from tests.machines.making import created
from tests.machines.test_create_domain import domains, machine_files
from tests.machines.test_remove_domain import pruned, removed
from tests.support import images
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import qemu_img
from tests.support.service_parts import pulled_disk, some_job
from virtlayer.errors import ImageNotFound, InUse, InvalidArgument
from virtlayer.protocol.domains import Boot
from virtlayer.protocol.names import parse_domain_name, parse_pool_name, parse_volume_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.describe_domain import describe_domain
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.remove_volume import RemoveVolumeRequest, remove_volume
from virtlayer.service.operations.services import Services
from virtlayer.sizes import MIB

RAW = b"boot".ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB)
PASSWORD = "swordfish-2kd8"


async def stored_disk(services: Services, pool: Pool, place: Path, name: str = "disk.img") -> None:
    """Pull a disk."""
    content = images.artifact([images.layer(raw=RAW, compression="none")])
    layout = images.write_layout(place / "layout", {"cloud": content})
    await pulled_disk(services, f"oci:{layout}:cloud", pool.name, name)


def volume(**more: Any) -> NewVolume:
    """What a caller wants to have in a volume."""
    return NewVolume(name=parse_volume_name("unnamed"), **more)


async def test_machines_share_a_disk_which_stays(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    await stored_disk(services, pool, tmp_path)
    wanted = volume(hostname="web", root_password=PASSWORD, size=64 * MIB)
    web = await created(
        services, pool, "disk.img", "web", volume=wanted, user_data=b"#cloud-config"
    )
    await created(services, pool, "disk.img", "db")
    assert (web.volume, web.kernel_version) == ("web.qcow2", "")
    info = qemu_img("info", "--output=json", str(pool.path / "web.qcow2"))
    assert '"backing-filename": "disk.img"' in info
    assert '"backing-filename-format": "raw"' in info
    described = await describe_domain(services, parse_domain_name("web"))
    assert described.boot is Boot.DISK
    record = await services.catalog.volumes.get(pool.name, RecordKind.VOLUME, "web.qcow2")
    assert record is not None
    assert (record.disk, record.top) == ("disk.img", None)
    seed = pool.path / f"seed-{web.uuid}.iso"
    assert b"#cloud-config" in seed.read_bytes()
    assert PASSWORD.encode() not in seed.read_bytes()
    assert seed.stat().st_mode & 0o777 == 0o600
    request = RemoveVolumeRequest(
        pool=parse_pool_name(pool.name), volume=parse_volume_name("disk.img")
    )
    with pytest.raises(InUse, match=r"web|db"):
        await remove_volume(services, request, some_job())
    assert await pruned(services, pool) == set()
    assert await removed(services, "web") == ("web.qcow2",)
    assert await removed(services, "db") == ("db.qcow2",)
    assert (domains(host), machine_files(pool)) == ([], {"disk.img"})
    await remove_volume(services, request, some_job())


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": Path("/boot/vmlinuz")},
        {"kernel_version": "6.1"},
        {"startup": StartupOptions(command=("/bin/sh",))},
        {"startup": StartupOptions(environment=("A=1",))},
        {"volume": volume(grow_filesystem=True)},
        {"volume": volume(keep_identity=True)},
    ],
    ids=lambda options: ",".join(options),
)
async def test_what_a_disk_decides_itself_is_refused(
    services: Services, pool: Pool, tmp_path: Path, options: dict[str, Any]
) -> None:
    await stored_disk(services, pool, tmp_path)
    with pytest.raises(InvalidArgument, match="the disk of a machine"):
        await created(services, pool, "disk.img", "web", **options)
    assert machine_files(pool) == {"disk.img"}


async def test_disk_is_found_by_the_name_of_its_image(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    await stored_disk(services, pool, tmp_path)
    [record] = await services.catalog.volumes.list(pool.name)
    made = await created(services, pool, record.image)
    assert made.image == record.image
    await stored_disk(services, pool, tmp_path, "other.img")
    with pytest.raises(ImageNotFound):
        await created(services, pool, "neither.img")
    with pytest.raises(InvalidArgument, match=r"disk\.img, other\.img"):
        await created(services, pool, record.image)
