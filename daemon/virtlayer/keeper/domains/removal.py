# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes domains of ours with their files, and what killed processes have left of domains."""

import asyncio
from collections.abc import Collection, Iterator

from virtlayer.errors import DomainNotFound, Internal, InUse
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.listing import has_domain, has_name, own_domain
from virtlayer.keeper.domains.logs import Logs, log_directory, remove_logs
from virtlayer.keeper.drivers import driver_of, drivers
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.protocol.domain_files import output_file, own_files
from virtlayer.protocol.domains import DomainType, State
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.virsh import virsh


async def remove_domain(domains: Domains, kind: PoolKind, pool: Pool, uuid: str) -> None:
    """Remove a domain of ours that does not run, its configuration, its seed and its logs.

    Nothing happens if it does not exist; its files are deleted then, too.

    Args:
        domains: The domains.
        kind: The kind of the pool.
        pool: The pool of its volumes.
        uuid: The domain.

    Raises:
        DomainNotFound: virtlayer has not made the domain, or another host has it.
        InUse: It runs, or has snapshots.
        VirtlayerError: libvirt cannot remove it.
    """
    driver = await driver_of(domains.hypervisor, uuid)
    name = await driver.call(_undefine, uuid, pool, driver.uri)
    if name is None:
        note = (await kind.noted_domains(pool)).get(uuid)
        if note is not None and note.host != host_id():
            raise DomainNotFound(f"The domain with the UUID {uuid} is one of another host.")
        name = None if note is None else note.name
    for one in await drivers(domains.hypervisor):
        if name is not None and await one.call(has_name, name):
            # Its log is that of another domain now.
            name = None
    await kind.remove_domain_files(pool, own_files(uuid))
    await kind.remove_domain_files(pool, [output_file(uuid)])
    await asyncio.to_thread(_remove_logs, domains.hypervisor.uri, uuid, name)
    await kind.forget_domain(pool, uuid)


async def sweep_domains(domains: Domains, kind: PoolKind, pool: Pool) -> None:
    """Delete configurations and seeds of domains of this host that libvirt does not have.

    Those of a running job are claimed. The note of a domain stays as long as it has logs, which the
    service may still need.

    Raises:
        PoolLocked: Another process has the pool's lock.
        VirtlayerError: libvirt does not answer.
    """
    here = host_id()
    notes = await kind.noted_domains(pool)
    ours = [uuid for uuid, note in notes.items() if note.host == here]
    if not ours:
        return
    lock = await kind.lock(pool)
    try:
        claimed = lock.claimed()
        for uuid in await missing_domains(domains.hypervisor, ours):
            if claimed.isdisjoint(own_files(uuid)):
                await kind.remove_domain_files(pool, own_files(uuid))
                has_output = bool(await kind.find(pool, [output_file(uuid)]))
                if not has_output and not await asyncio.to_thread(
                    _has_logs, domains.hypervisor.uri, uuid
                ):
                    await kind.forget_domain(pool, uuid)
    finally:
        await lock.release()


async def missing_domains(hypervisor: Hypervisor, uuids: Collection[str]) -> set[str]:
    """Return which of these domains libvirt does not have.

    Raises:
        VirtlayerError: libvirt does not answer.
    """
    missing = set(uuids)
    for driver in await drivers(hypervisor):
        missing.intersection_update(await driver.call(_missing, uuids))
    return missing


def _undefine(connection: Connection, uuid: str, pool: Pool, uri: str) -> str | None:
    """Undefine a domain of ours; return its name, or None if there is none with this UUID."""
    if not has_domain(connection, uuid):
        return None
    own = own_domain(connection, uuid)
    name = own.domain.name()
    if own.found.metadata.pool != pool.uuid:
        raise Internal(f'The volumes of the domain "{name}" are in another pool.')
    if own.state not in (State.STOPPED, State.CRASHED):
        raise InUse(f'The machine "{name}" is {own.state}. Stop it first.')
    if own.found.root.get("type") == "lxc":
        own.domain.undefine()
        return str(name)
    if own.domain.snapshotNum():
        raise InUse(
            f'The machine "{name}" has snapshots. Delete them first: '
            + virsh(uri, "snapshot-list", name)
        )
    own.domain.undefineFlags(
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    )
    return str(name)


def _missing(connection: Connection, uuids: Collection[str]) -> list[str]:
    return [uuid for uuid in uuids if not has_domain(connection, uuid)]


def _remove_logs(uri: str, uuid: str, name: str | None) -> None:
    for kind in (DomainType.QEMU, DomainType.LXC):
        directory = log_directory(uri, kind)
        remove_logs(directory, _log_names(Logs(directory, uuid), name))


def _log_names(logs: Logs, name: str | None) -> Iterator[str]:
    yield logs.output.name
    yield logs.console.name
    if name is not None:
        # Of libvirt's own, about QEMU.
        yield f"{name}.log"


def _has_logs(uri: str, uuid: str) -> bool:
    logs = Logs(log_directory(uri, DomainType.QEMU), uuid)
    return logs.console.exists() or logs.output.exists()
