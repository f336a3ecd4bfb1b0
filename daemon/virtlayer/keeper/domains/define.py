# SPDX-License-Identifier: LGPL-2.1-or-later
"""Defines domains, with the files of a pool that belong to them."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.errors import DomainFailed, Libvirt, VirtlayerError
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.directory_users import check_directory_unused
from virtlayer.keeper.domains.architecture import host_architecture
from virtlayer.keeper.domains.checks import check_domain, check_request, check_volumes, driver_for
from virtlayer.keeper.domains.container import Container, container_xml
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.listing import has_domain
from virtlayer.keeper.domains.logs import Logs, log_directory, make_log_directory
from virtlayer.keeper.domains.xml import Machine, machine_xml
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.kinds.kind import Claim, PoolKind
from virtlayer.keeper.kinds.machine_storage import MachineStorage
from virtlayer.protocol.domain_files import config_file, output_file, own_files, seed_file
from virtlayer.protocol.domains import DefineDomain, DomainDefined, DomainType
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.memory_files import new_memory_file
from virtlayer.protocol.pools import Pool


async def define_domain(
    domains: Domains, kind: PoolKind, claim: Claim, request: DefineDomain, contents: Sequence[int]
) -> DomainDefined:
    """Define a domain, or create a transient one, which is paused.

    If this fails, nothing of it is left.

    Args:
        domains: The domains.
        kind: The kind of the pool of its volumes.
        claim: A claim of the service in that pool.
        request: The domain.
        contents: Descriptors of its configuration and its seed, as far as it has them.

    Raises:
        VolumeNotFound: virtlayer has not made a volume that the domain names.
        InUse: Another domain has the directory.
        VirtlayerError: As ``check_domain``; or libvirt refuses the domain.
    """
    check_request(request)
    pool = claim.pool
    await check_volumes(kind, pool, request)
    driver = await driver_for(domains, request)
    # A sweep does not take them for those of a killed process.
    await claim.add(own_files(request.uuid))
    boot_volumes = [name for name in (request.kernel, request.initrd) if name is not None]
    providing = kind.providing(pool, boot_volumes)
    async with providing, domains.defining:
        checked = await check_domain(domains, request)
        if checked.type is DomainType.LXC:
            await check_directory_unused(domains.hypervisor, pool, request.disk or "")
        # If the service is lost meanwhile, all of it is done or nothing.
        await to_completion(
            _defined(driver, kind, pool, request, checked, _files(request, contents))
        )
    return checked


def _files(request: DefineDomain, contents: Sequence[int]) -> dict[str, int]:
    """The files to be written, with descriptors of their contents."""
    names = ((config_file, request.has_config), (seed_file, request.has_seed))
    wanted = [name(request.uuid) for name, is_there in names if is_there]
    files = dict(zip(wanted, contents, strict=True))
    if request.type is DomainType.LXC:
        # Our init does not make it itself: its directory is not the container's.
        files[output_file(request.uuid)] = new_memory_file()
    return files


async def _defined(
    driver: Hypervisor,
    kind: PoolKind,
    pool: Pool,
    request: DefineDomain,
    checked: DomainDefined,
    files: Mapping[str, int],
) -> None:
    note = DomainNote(host_id(), request.name, is_container=checked.type is DomainType.LXC)
    owner = None if request.id_map is None else request.id_map.base
    await kind.write_domain_files(pool, request.uuid, note, files, owner)
    try:
        storage = await kind.machine_storage(pool, request.disk)
        text = await asyncio.to_thread(
            _description, driver.uri, pool.path, storage, request, checked
        )
        await driver.call(_define, request, text)
    except VirtlayerError as error:
        with contextlib.suppress(VirtlayerError):
            await driver.call(_undefine, request.uuid)
        await kind.remove_domain_files(pool, files)
        await kind.forget_domain(pool, request.uuid)
        if isinstance(error, Libvirt):
            raise DomainFailed(
                f'The machine "{request.name}" cannot be created. {error.message}'
            ) from error
        raise


def _description(
    uri: str,
    directory: Path,
    storage: MachineStorage,
    request: DefineDomain,
    checked: DomainDefined,
) -> str:
    if request.id_map is not None and request.disk is not None:
        container = Container(
            request=request,
            disk=request.disk,
            ids=request.id_map,
            network=checked.network,
            directory=directory,
        )
        return container_xml(container)
    logs = Logs(log_directory(uri, checked.type), request.uuid)
    make_log_directory(logs.directory)
    machine = Machine(
        request=request,
        type=checked.type,
        network=checked.network,
        architecture=host_architecture(),
        storage=storage,
        logs=logs,
    )
    return machine_xml(machine)


def _define(connection: Connection, request: DefineDomain, description: str) -> None:
    """Define or create a domain that did not exist; it does if this is called again."""
    if has_domain(connection, request.uuid):
        return
    # libvirt-LXC creates no paused containers: an ephemeral one is undefined when it is started.
    if request.ephemeral and request.type is not DomainType.LXC:
        connection.createXML(description, libvirt.VIR_DOMAIN_START_PAUSED)
        return
    domain = connection.defineXML(description)
    if request.autostart:
        domain.setAutostart(1)


def _undefine(connection: Connection, uuid: str) -> None:
    if has_domain(connection, uuid):
        domain = connection.lookupByUUIDString(uuid)
        if domain.isActive():
            domain.destroy()
        else:
            domain.undefine()
