# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the local files that domains name: see ``keeper.local_boot``."""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import DomainFailed
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.disks import all_disks, parse_disks
from virtlayer.keeper.domains.listing import own_domain
from virtlayer.keeper.domains.removal import missing_domains
from virtlayer.keeper.drivers import driver_of
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.local_boot.notes import LocalNotes
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.domain_files import domain_in_name, own_files
from virtlayer.protocol.host_id import host_id


@dataclass(frozen=True, slots=True)
class RbdMachine:
    """A machine on an RBD pool that is to be started.

    Attributes:
        pool: The UUID of the pool.
        volume: The name of its volume.
        missing: The names of its kernel and initrd, as far as they are not on this host.
    """

    pool: str
    volume: str
    missing: Collection[str]


async def rbd_machine(hypervisor: Hypervisor, local: LocalFiles, uuid: str) -> RbdMachine | None:
    """Find out what a domain of ours needs before it is started, if it is on an RBD pool.

    Returns:
        None if it is on another pool, or runs already.

    Raises:
        DomainNotFound: There is no such domain of ours.
        DomainFailed: It lacks its configuration or its seed.
        VirtlayerError: libvirt cannot be asked.
    """
    driver = await driver_of(hypervisor, uuid)
    needs = await driver.call(_needs, uuid, local.path)
    if needs is None:
        return None
    missing = await local.missing(needs.files)
    boot_volumes = frozenset(filter(is_boot_volume, missing))
    for name in sorted(missing - boot_volumes):
        raise DomainFailed(
            f'The machine "{needs.domain}" cannot be started: {local.path / name} is missing. Its '
            "configuration is only on this host, because it can have secrets. Restore the file "
            "from a backup, or remove the machine, with its volume, and create it again."
        )
    return RbdMachine(needs.pool, needs.volume, boot_volumes)


async def sweep_local_files(hypervisor: Hypervisor, local: LocalFiles) -> None:
    """Remove kernels and initrds that no domain of this host names.

    Also remove configurations and seeds of domains that do not exist, if libvirt does not have
    their pool either: nothing else finds them.

    Raises:
        VirtlayerError: libvirt cannot be asked, or the files cannot be removed.
    """
    await local.sweep(functools.partial(_needed, hypervisor))
    notes = LocalNotes(local.path)
    here, found = host_id(), await notes.all()
    pools = await hypervisor.call(_pools) if found else frozenset()
    lost = [uuid for uuid, (pool, note) in found.items() if pool not in pools and note.host == here]
    for uuid in await missing_domains(hypervisor, lost):
        await local.remove(own_files(uuid))
        await notes.forget(uuid)


def _pools(connection: Connection) -> frozenset[str]:
    return frozenset(pool.UUIDString() for pool in connection.listAllStoragePools())


async def _needed(hypervisor: Hypervisor) -> frozenset[str]:
    disks = await all_disks(hypervisor)
    return frozenset(disk.path.name for disk in disks if disk.path is not None)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a domain on an RBD pool needs.

    Attributes:
        domain: The name of the domain.
        pool: The UUID of its pool.
        volume: Its volume.
        files: The names of its local files.
    """

    domain: str
    pool: str
    volume: str
    files: Collection[str]


def _needs(connection: Connection, uuid: str, directory: Path) -> _Needs | None:
    own = own_domain(connection, uuid)
    root, metadata, name = own.found.root, own.found.metadata, own.domain.name()
    is_on_rbd = any(
        source.get("protocol") == "rbd" for source in root.iterfind("devices/disk/source")
    )
    if own.domain.isActive() or not is_on_rbd:
        return None
    disks = parse_disks(name, own.domain.XMLDesc())
    files = {disk.path.name for disk in disks if disk.path and disk.path.parent == directory}
    ours = [name for name in files if is_boot_volume(name) or domain_in_name(name) == uuid]
    return _Needs(name, metadata.pool, metadata.volume, ours)
