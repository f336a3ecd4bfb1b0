# SPDX-License-Identifier: LGPL-2.1-or-later
"""Local files of domains that nothing else finds are swept, and no others."""

import os
import uuid
from pathlib import Path

import pytest

from tests.keeper.domains.requests import any_uuid
from tests.support.defined_machines import defined_machine
from tests.support.libvirt_host import LibvirtHost
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.local_files import sweep_local_files
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.local_boot.notes import LocalNotes
from virtlayer.protocol.domain_files import config_file
from virtlayer.protocol.host_id import host_id
from virtlayer.service.keeper.sealed import sealed_content

GONE = str(uuid.UUID(int=1))
"""A pool that libvirt does not have."""
KERNEL, OTHER = f"kernel-{'1' * 64}", f"kernel-{'2' * 64}"


@pytest.fixture
def local(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "boot")


async def configured(
    local: LocalFiles, pool: str, *, own: str | None = None, host: str | None = None
) -> str:
    """Note a domain, and write its configuration; the name of that file."""
    own = own or any_uuid()
    note = DomainNote(host_id() if host is None else host, "web", is_container=False)
    await LocalNotes(local.path).add(pool, own, note)
    content = sealed_content(b"a configuration")
    await local.add_own(config_file(own), content)
    os.close(content)
    return config_file(own)


async def test_configuration_of_a_pool_that_no_longer_exists_is_swept(
    host: LibvirtHost, local: LocalFiles, tmp_path: Path
) -> None:
    host.start_pool("swept")
    try:
        pool = host.virsh("pool-uuid", "swept")
        of_pool = await configured(local, pool)
        of_other_host = await configured(local, GONE, host="0" * 32)
        disk = tmp_path / "disk"
        disk.touch()
        async with Hypervisor(host.uri) as hypervisor:
            with defined_machine(host, "swept", disk) as own:
                of_domain = await configured(local, GONE, own=own)
                await configured(local, GONE)
                await sweep_local_files(hypervisor, local)
                left = {one.name for one in local.path.iterdir() if one.is_file()}
                # A sweep of the pool finds the first one, with the claims of running jobs.
                assert left == {of_pool, of_other_host, of_domain}
            await sweep_local_files(hypervisor, local)
        assert not (local.path / of_domain).exists()
        assert len(await LocalNotes(local.path).all()) == 2
    finally:
        host.stop_pool("swept")


async def test_kernel_that_a_domain_names_is_not_swept(
    host: LibvirtHost, local: LocalFiles
) -> None:
    content = sealed_content(b"a kernel")
    for name in (KERNEL, OTHER):
        await local.add_shared(name, content, None)
    os.close(content)
    description = host.directory / "kernel.xml"
    description.write_text(
        "<domain type='qemu'><name>swept</name><memory unit='MiB'>64</memory>"
        f"<os><type>hvm</type><kernel>{local.path / KERNEL}</kernel></os></domain>"
    )
    host.virsh("define", str(description))
    try:
        async with Hypervisor(host.uri) as hypervisor:
            await sweep_local_files(hypervisor, local)
        assert [one.name for one in local.path.iterdir()] == [KERNEL]
    finally:
        host.virsh("undefine", "swept")
