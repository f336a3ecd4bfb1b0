# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers of libvirt-LXC run in a directory of the pool, which only one of them can have."""

from pathlib import Path
from typing import Any

import pytest

from tests.machines.making import request
from tests.machines.test_create_domain import machine_files
from tests.support.images import directory, file, image, layer, write_layout
from tests.support.service_parts import some_job
from tests.support.sources import PLAIN
from virtlayer.errors import ImageNotFound, InUse, InvalidArgument
from virtlayer.protocol.domains import Boot, DomainType, Network, NetworkKind, State
from virtlayer.protocol.names import parse_domain_name, parse_pool_name, parse_volume_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.create_domain import create_domain
from virtlayer.service.operations.machines.describe_domain import describe_domain
from virtlayer.service.operations.machines.new_domain import CreatedDomain
from virtlayer.service.operations.machines.remove_domain import RemoveDomainRequest, remove_domain
from virtlayer.service.operations.machines.stop_domain import StopDomainRequest, stop_domain
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.pull_directory import pull_directory
from virtlayer.service.operations.remove_volume import RemoveVolumeRequest, remove_volume
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.whole_image import Format, WholeImageRequest
from virtlayer.service.source.reference import parse_reference
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root

BOX = parse_domain_name("box")


async def pulled_directory(
    services: Services, pool: Pool, place: Path, name: str = "tree", *, id_map: bool = True
) -> None:
    """Pull an image with a shell as a directory."""
    pool.path.chmod(0o711 if id_map else 0o700)
    shell = file("bin/sh", Path("/bin/busybox").read_bytes(), mode=0o755)
    content = image([layer(directory("bin"), shell)], config={"config": {"Cmd": ["/bin/sh"]}})
    layout = write_layout(place / "layout", {"1": content})
    wanted = WholeImageRequest(
        source=parse_reference(f"oci:{layout}:1"),
        pool=parse_pool_name(pool.name),
        format=Format.DIRECTORY,
        volume=NewVolume(name=parse_volume_name(name)),
        access=PLAIN,
        id_map=id_map,
    )
    await pull_directory(services, wanted, some_job())


async def contained(
    services: Services, pool: Pool, tree: str, name: str, **more: Any
) -> CreatedDomain:
    """Make a container."""
    fields: dict[str, Any] = {"type": DomainType.LXC, "memory": 256 * MIB, **more}
    fields.setdefault("network", Network(kind=NetworkKind.NONE))
    return await create_domain(services, request(pool.name, tree, name, **fields), some_job())


async def test_container_runs_in_a_directory_which_stays(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    await pulled_directory(services, pool, tmp_path)
    script = "trap 'exit 6' TERM; while :; do /bin/sh -c : ; done"
    startup = StartupOptions(command=("/bin/sh", "-c", script))
    made = await contained(services, pool, "tree", "box", startup=startup, start=True)
    assert (made.volume, made.type) == ("tree", DomainType.LXC)
    described = await describe_domain(services, BOX)
    assert (described.state, described.boot) == (State.RUNNING, Boot.CONTAINER)
    record = await services.catalog.volumes.get(pool.name, RecordKind.DIRECTORY, "tree")
    assert record is not None
    assert record.machine is not None
    assert (record.machine.domain, record.machine.expendable) == (made.uuid, False)
    with pytest.raises(InUse, match="another container"):
        await contained(services, pool, "tree", "other")
    removal = RemoveVolumeRequest(pool=parse_pool_name(pool.name), volume=parse_volume_name("tree"))
    with pytest.raises(InUse, match="box"):
        await remove_volume(services, removal, some_job())
    await stop_domain(services, StopDomainRequest(name=BOX, timeout=20), some_job())
    freed = await remove_domain(services, RemoveDomainRequest(name=BOX), some_job())
    assert freed.volumes == ()
    assert machine_files(pool) == {"tree"}
    record = await services.catalog.volumes.get(pool.name, RecordKind.DIRECTORY, "tree")
    assert record is not None
    assert record.machine is None
    await contained(services, pool, "tree", "other")
    other = parse_domain_name("other")
    await remove_domain(services, RemoveDomainRequest(name=other), some_job())


async def test_directory_without_mapped_ids_is_refused(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    await pulled_directory(services, pool, tmp_path, "plain", id_map=False)
    with pytest.raises(InvalidArgument, match="--id-map=auto"):
        await contained(services, pool, "plain", "box")
    with pytest.raises(ImageNotFound, match="--format=dir"):
        await contained(services, pool, "missing", "box")
    record = await services.catalog.volumes.get(pool.name, RecordKind.DIRECTORY, "plain")
    assert record is not None
    assert record.machine is None
