# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian boots with each kind of kernel and initrd. `make soak` runs it: it takes minutes."""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machines.making import request
from tests.support.debian import debian_tree
from tests.support.images import image, layer, write_layout
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import MachineHost
from tests.support.service_parts import pulled, some_job
from virtlayer.protocol.domains import Boot
from virtlayer.protocol.names import parse_image_name
from virtlayer.protocol.pools import Pool
from virtlayer.service.operations.machines.create_domain import create_domain
from virtlayer.service.operations.services import Services
from virtlayer.settings import StorageSettings
from virtlayer.sizes import GIB, MIB

_PATIENCE = 240.0
_VERSION = re.compile(r"boot/(?:vmlinuz|initrd\.img)-(.*)")


def _as_it_is(name: str) -> str | None:
    return name


def _as_for_bootc(name: str) -> str | None:
    if match := _VERSION.fullmatch(name):
        file = "vmlinuz" if "vmlinuz" in name else "initramfs.img"
        return f"usr/lib/modules/{match[1]}/{file}"
    return name


def _without_initrd(name: str) -> str | None:
    return None if name.startswith("boot/initrd") else name


def _without_kernel(name: str) -> str | None:
    return None if name.startswith(("boot/", "usr/lib/modules/")) else name


@pytest.mark.parametrize(
    ("place", "kernel", "boot"),
    [
        (_as_it_is, None, Boot.IMAGE_INITRD),
        (_as_for_bootc, None, Boot.IMAGE_INITRD),
        (_without_initrd, None, Boot.OWN_INITRD),
        (_without_kernel, debian_kernel, Boot.OWN_INITRD),
    ],
    ids=["debian", "bootc", "no-initrd", "no-kernel"],
)
async def test_debian_boots(
    services: Services,
    host: LibvirtHost,
    pool: Pool,
    tmp_path: Path,
    place: Callable[[str], str | None],
    kernel: Callable[[], object] | None,
    boot: Boot,
) -> None:
    storage = StorageSettings(virtual_size=GIB)
    settings = dataclasses.replace(services.settings, storage=storage)
    services = dataclasses.replace(services, settings=settings)
    content = layer(raw=debian_tree(place), compression="none")
    config = {"config": {"Cmd": ["/sbin/init"]}}
    layout = write_layout(tmp_path / "layout", {"1": image([content], config=config)})
    await pulled(services, f"oci:{layout}:1", pool.name, name=parse_image_name("debian"))
    path = None if kernel is None else debian_kernel().image
    wanted = request(pool.name, "debian", "web", memory=512 * MIB, kernel=path, start=True)
    made = await create_domain(services, wanted, some_job())
    description = host.virsh("dumpxml", "web")
    assert f'boot="{boot}"' in description or f"boot='{boot}'" in description
    assert "http://debian.org/debian/13" in description
    async with asyncio.timeout(_PATIENCE):
        while host.virsh("domstate", "web").strip() != "shut off":
            await asyncio.sleep(0.1)
    found = re.search(r"<log file='([^']*)'", description)
    assert found
    assert isinstance(host, MachineHost)
    log = (host.logs / Path(found[1]).name).read_text(errors="replace")
    assert f"init systemd kernel {made.kernel_version} root ext2/ext3" in log, log[-2000:]
