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
class MissingFiles:
    """Kernel and initrd of a domain that are not on this host.

    Attributes:
        pool: The UUID of the pool that has them.
        boot_volumes: Their names.
    """

    pool: str
    boot_volumes: Collection[str]


async def missing_local_files(
    hypervisor: Hypervisor, local: LocalFiles, uuid: str
) -> MissingFiles | None:
    """Find out which local files a domain of ours lacks that is to be started.

    Returns:
        None if it lacks none, or runs already.

    Raises:
        DomainNotFound: There is no such domain of ours.
        DomainFailed: It lacks its configuration or its seed.
        VirtlayerError: libvirt cannot be asked.
    """
    driver = await driver_of(hypervisor, uuid)
    named = await driver.call(_named, uuid, local.path)
    missing = await local.missing(named.files) if named.files else frozenset()
    boot_volumes = frozenset(filter(is_boot_volume, missing))
    for name in sorted(missing - boot_volumes):
        raise DomainFailed(
            f'The machine "{named.domain}" cannot be started: {local.path / name} is missing. Its '
            "configuration is only on this host, because it can have secrets. Restore the file "
            "from a backup, or remove the machine, with its volume, and create it again."
        )
    return MissingFiles(named.pool, boot_volumes) if boot_volumes else None


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
class _Named:
    """The local files that a domain names.

    Attributes:
        domain: The name of the domain.
        pool: The UUID of its pool.
        files: The names of the files.
    """

    domain: str
    pool: str
    files: Collection[str]


def _named(connection: Connection, uuid: str, directory: Path) -> _Named:
    own = own_domain(connection, uuid)
    name = own.domain.name()
    if own.domain.isActive():
        return _Named(name, own.found.metadata.pool, ())
    disks = parse_disks(name, own.domain.XMLDesc())
    files = {disk.path.name for disk in disks if disk.path and disk.path.parent == directory}
    ours = [name for name in files if is_boot_volume(name) or domain_in_name(name) == uuid]
    return _Named(name, own.found.metadata.pool, ours)
