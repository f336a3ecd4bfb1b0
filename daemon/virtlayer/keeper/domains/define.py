# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks and defines domains."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.cancellation import to_completion
from virtlayer.errors import (
    DomainExists,
    DomainFailed,
    Internal,
    Libvirt,
    Unsupported,
    VirtlayerError,
)
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.architecture import host_architecture
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.files import config_file, own_files, seed_file
from virtlayer.keeper.domains.host import Capabilities, capabilities, check_size
from virtlayer.keeper.domains.kvm import ChosenType, chosen_type
from virtlayer.keeper.domains.listing import has_domain, has_name
from virtlayer.keeper.domains.logs import Logs, log_directory, make_log_directory
from virtlayer.keeper.domains.networks import chosen_network
from virtlayer.keeper.domains.xml import Machine, machine_xml
from virtlayer.keeper.kinds.kind import Claim
from virtlayer.keeper.kinds.known import kind_of
from virtlayer.protocol.boot_names import BootPart, boot_volume_name, digest_in_name
from virtlayer.protocol.domains import Boot, DefineDomain, DomainDefined, DomainType, Network
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.virsh import virsh


async def check_domain(domains: Domains, request: DefineDomain) -> DomainDefined:
    """Check what can be checked before anything is made.

    Args:
        domains: The domains.
        request: What the service asks for.

    Raises:
        DomainExists: libvirt has a domain of that name or UUID.
        InvalidArgument: The host or the network does not have what is asked for.
        Unsupported: KVM, passt or a network cannot be used.
        Internal: The request contradicts itself.
    """
    _check_request(request)
    known = await domains.hypervisor.call(_known, request, domains.hypervisor.uri)
    chosen = chosen_type(request.type, offered=known.kvm is not None, verdict=domains.kvm.verdict())
    await domains.hypervisor.call(_check_host, request, known, chosen)
    return DomainDefined(
        type=chosen.type,
        kvm_known=chosen.kvm_known,
        notes=chosen.notes,
        network=known.network,
    )


async def define_domain(
    domains: Domains, pool: Pool, claim: Claim, request: DefineDomain, contents: Sequence[int]
) -> DomainDefined:
    """Define a domain, or create a transient one, which is paused.

    If this fails, nothing of it is left.

    Args:
        domains: The domains.
        pool: The pool of its volumes.
        claim: A claim of the service in that pool.
        request: The domain.
        contents: Descriptors of its configuration and its seed, as far as it has them.

    Raises:
        VolumeNotFound: virtlayer has not made a volume that the domain names.
        VirtlayerError: As ``check_domain``; or libvirt refuses the domain.
    """
    _check_request(request)
    await _check_volumes(pool, request)
    names = ((config_file, request.has_config), (seed_file, request.has_seed))
    files = [name(request.uuid) for name, is_there in names if is_there]
    # A sweep does not take them for those of a killed process.
    await claim.add(own_files(request.uuid))
    async with domains.defining:
        checked = await check_domain(domains, request)
        note = host_id(), request.name
        with_contents = dict(zip(files, contents, strict=True))
        # If the service is lost meanwhile, all of it is done or nothing.
        await to_completion(_defined(domains, pool, request, checked, note, with_contents))
        domains.names[request.uuid] = request.name
    return checked


def _check_request(request: DefineDomain) -> None:
    """Check what the service always sends like this.

    Raises:
        Internal: The request contradicts itself.
    """
    has_kernel = request.boot in (Boot.OWN_INITRD, Boot.IMAGE_INITRD)
    is_container = request.boot is Boot.CONTAINER
    fits = (
        (request.type is DomainType.LXC) == is_container
        and (request.id_map is not None) == is_container
        and (request.disk_format == "dir") == is_container
        and not (request.ephemeral and request.autostart)
        and not (request.has_streams and request.boot in (Boot.DISK, Boot.IMAGE_INITRD))
        and "/" not in request.name
    )
    named = bool(request.kernel), bool(request.initrd)
    if not fits or (any(named) and not has_kernel) or named[0] != named[1]:
        raise Internal("The description of the domain contradicts itself.")


async def _check_volumes(pool: Pool, request: DefineDomain) -> None:
    """Check that the domain names volumes of ours, and no layer.

    Raises:
        Internal: The request contradicts itself.
        VolumeNotFound: There is no such volume of ours.
    """
    await check_boot_volumes(pool, request)
    if request.disk is None or is_layer_volume(request.disk):
        raise Internal("The domain does not have a writable volume.")
    if request.disk_format not in ("qcow2", "dir"):
        # A guest could write a header into a raw file that names a file of the host.
        raise Internal(f"The domain cannot have a volume of the format {request.disk_format}.")
    is_directory = request.disk_format == "dir"
    await kind_of(pool).check_made(pool, request.disk, is_directory=is_directory)


async def check_boot_volumes(pool: Pool, request: DefineDomain) -> None:
    """Check that a domain with a kernel names volumes of ours with that and an initrd.

    Raises:
        Internal: It does not.
        VolumeNotFound: There is no such volume of ours.
    """
    if request.boot not in (Boot.OWN_INITRD, Boot.IMAGE_INITRD):
        return
    parts = (BootPart.KERNEL, request.kernel), (BootPart.INITRD, request.initrd)
    for part, name in parts:
        if name is None or boot_volume_name(part, digest_in_name(name) or "") != name:
            raise Internal(f"The domain does not have a volume with its {part}.")
        await kind_of(pool).check_made(pool, name, is_directory=False)


async def _defined(
    domains: Domains,
    pool: Pool,
    request: DefineDomain,
    checked: DomainDefined,
    note: tuple[str, str],
    files: dict[str, int],
) -> None:
    kind, call = kind_of(pool), domains.hypervisor.call
    await kind.write_domain_files(pool, request.uuid, note, files)
    try:
        description = await asyncio.to_thread(_description, domains, pool, request, checked)
        await call(_define, request, description)
    except VirtlayerError as error:
        with contextlib.suppress(VirtlayerError):
            await call(_undefine, request.uuid)
        await kind.remove_domain_files(pool, files)
        await kind.forget_domain(pool, request.uuid)
        if isinstance(error, Libvirt):
            raise DomainFailed(
                f'The machine "{request.name}" cannot be created. {error.message}'
            ) from error
        raise


def _description(
    domains: Domains, pool: Pool, request: DefineDomain, checked: DomainDefined
) -> str:
    logs = Logs(log_directory(domains.hypervisor.uri, checked.type), request.uuid)
    make_log_directory(logs.directory)
    machine = Machine(
        request=request,
        type=checked.type,
        network=checked.network,
        architecture=host_architecture(),
        directory=pool.path,
        logs=logs,
    )
    return machine_xml(machine)


@dataclass(frozen=True, slots=True)
class _Known:
    """What libvirt says about a request.

    Attributes:
        network: The network that the domain gets.
        kvm: What a KVM domain can have; None if there is no KVM, or if it does not matter.
    """

    network: Network
    kvm: Capabilities | None


def _known(connection: Connection, request: DefineDomain, uri: str) -> _Known:
    if has_name(connection, request.name) or has_domain(connection, request.uuid):
        raise DomainExists(
            f'A domain "{request.name}" exists in libvirt. Choose another name, or remove it: see '
            f'"{virsh(uri, "list", "--all")}".'
        )
    network = chosen_network(connection, uri, request.network)
    if request.type is DomainType.QEMU:
        return _Known(network, None)
    return _Known(network, capabilities(connection, host_architecture(), DomainType.KVM))


def _check_host(
    connection: Connection, request: DefineDomain, known: _Known, chosen: ChosenType
) -> None:
    architecture = host_architecture()
    found = known.kvm if chosen.type is DomainType.KVM else None
    found = found or capabilities(connection, architecture, chosen.type)
    if found is None:
        raise Unsupported(
            f"libvirt cannot run machines of {architecture.name} on this host. Install QEMU for "
            f"{architecture.name} (package qemu-system)."
        )
    check_size(connection, found, memory=request.memory, processors=request.processors)


def _define(connection: Connection, request: DefineDomain, description: str) -> None:
    """Define or create a domain that did not exist; it does if this is called again."""
    if has_domain(connection, request.uuid):
        return
    if request.ephemeral:
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
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
