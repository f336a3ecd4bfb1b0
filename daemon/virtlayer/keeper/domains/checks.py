# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks requests for domains, as if the service were compromised."""

from dataclasses import dataclass

from virtlayer.errors import DomainExists, Internal, Unsupported
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.domains.architecture import host_architecture
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.host import Capabilities, HostCapabilities, check_size
from virtlayer.keeper.domains.kvm import ChosenType, chosen_type
from virtlayer.keeper.domains.listing import has_domain, has_name
from virtlayer.keeper.domains.networks import chosen_network, container_network
from virtlayer.keeper.drivers import drivers
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.protocol.boot_names import BootPart, boot_volume_name, digest_in_name
from virtlayer.protocol.domains import Boot, DefineDomain, DomainDefined, DomainType, IdMap, Network
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.virsh import virsh

_WITH_KERNEL = (Boot.OWN_INITRD, Boot.IMAGE_INITRD)
_LEAST_ID, _IDS = 65536, 2**32 - 1
"""A container has no id that a user or a service of the host usually has."""
_CONTAINER_PROCESSORS = 1024


async def driver_for(domains: Domains, request: DefineDomain) -> Hypervisor:
    """The connection to the driver that runs a domain.

    Raises:
        Unsupported: This host runs no containers.
    """
    if request.type is not DomainType.LXC:
        return domains.hypervisor
    found = await drivers(domains.hypervisor)
    if domains.hypervisor.containers not in found:
        raise Unsupported(
            "Containers require libvirt-LXC, which only the system's libvirt has. Install the "
            "package libvirt-daemon-driver-lxc, and use the system service."
        )
    return found[-1]


async def check_domain(domains: Domains, request: DefineDomain) -> DomainDefined:
    """Check what can be checked before anything is made.

    Args:
        domains: The domains.
        request: What the service asks for.

    Raises:
        DomainExists: libvirt has a domain of that name or UUID.
        InvalidArgument: The host or the network does not have what is asked for.
        Unsupported: KVM, libvirt-LXC, passt or a network cannot be used.
        Internal: The request contradicts itself.
    """
    check_request(request)
    driver = await driver_for(domains, request)
    for one in await drivers(domains.hypervisor):
        await one.call(_check_new, request, one.uri)
    known = await driver.call(_known, domains.capabilities, request, driver.uri)
    if request.type is DomainType.LXC:
        chosen = ChosenType(DomainType.LXC)
    else:
        offered = known.kvm is not None
        chosen = chosen_type(request.type, offered=offered, verdict=domains.kvm.verdict())
    await driver.call(_check_host, domains.capabilities, request, known, chosen)
    return DomainDefined(
        type=chosen.type,
        kvm_known=chosen.kvm_known,
        notes=chosen.notes,
        network=known.network,
    )


def check_request(request: DefineDomain) -> None:
    """Check what the service always sends like this.

    Raises:
        Internal: The request contradicts itself.
    """
    has_kernel = request.boot in _WITH_KERNEL
    is_container = request.boot is Boot.CONTAINER
    fits = (
        (request.type is DomainType.LXC) == is_container
        and (request.id_map is not None) == is_container
        and (request.disk_format == "dir") == is_container
        and not (request.ephemeral and request.autostart)
        and not (request.has_streams and request.boot in (Boot.DISK, Boot.IMAGE_INITRD))
        and not (is_container and request.has_seed)
        and "/" not in request.name
    )
    named = bool(request.kernel), bool(request.initrd)
    if not fits or (any(named) and not has_kernel) or named[0] != named[1]:
        raise Internal("The description of the domain contradicts itself.")
    if request.id_map is not None:
        _check_ids(request.id_map)


def _check_ids(ids: IdMap) -> None:
    if ids.base < _LEAST_ID or not 1 <= ids.count <= _IDS - ids.base:
        raise Internal(f"A container cannot have the ids from {ids.base} on.")


async def check_volumes(kind: PoolKind, pool: Pool, request: DefineDomain) -> None:
    """Check that the domain names volumes of ours, and no layer.

    Raises:
        Internal: The request contradicts itself.
        VolumeNotFound: There is no such volume of ours.
    """
    await check_boot_volumes(kind, pool, request)
    if request.disk is None or is_layer_volume(request.disk):
        raise Internal("The domain does not have a writable volume.")
    is_directory = request.disk_format == "dir"
    if not is_directory and request.disk_format != pool.chain_format:
        # A guest could write a header into a raw file that names a file of the host.
        raise Internal(f"The domain cannot have a volume of the format {request.disk_format}.")
    await kind.check_made(pool, request.disk, is_directory=is_directory)


async def check_boot_volumes(kind: PoolKind, pool: Pool, request: DefineDomain) -> None:
    """Check that a domain with a kernel names volumes of ours with that and an initrd.

    Raises:
        Internal: It does not.
        VolumeNotFound: There is no such volume of ours.
    """
    if request.boot not in _WITH_KERNEL:
        return
    parts = (BootPart.KERNEL, request.kernel), (BootPart.INITRD, request.initrd)
    for part, name in parts:
        if name is None or boot_volume_name(part, digest_in_name(name) or "") != name:
            raise Internal(f"The domain does not have a volume with its {part}.")
        await kind.check_made(pool, name, is_directory=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What libvirt says about a request.

    Attributes:
        network: The network that the domain gets.
        kvm: What a KVM domain can have; None if there is no KVM, or if it does not matter.
    """

    network: Network
    kvm: Capabilities | None


def _check_new(connection: Connection, request: DefineDomain, uri: str) -> None:
    if has_name(connection, request.name) or has_domain(connection, request.uuid):
        raise DomainExists(
            f'A domain "{request.name}" exists in libvirt. Choose another name, or remove it: see '
            f'"{virsh(uri, "list", "--all")}".'
        )


def _known(
    connection: Connection, capabilities: HostCapabilities, request: DefineDomain, uri: str
) -> _Known:
    if request.type is DomainType.LXC:
        return _Known(container_network(connection, uri, request.network), None)
    network = chosen_network(connection, uri, request.network)
    if request.type is DomainType.QEMU:
        return _Known(network, None)
    return _Known(network, capabilities.of(connection, DomainType.KVM))


def _check_host(
    connection: Connection,
    capabilities: HostCapabilities,
    request: DefineDomain,
    known: _Known,
    chosen: ChosenType,
) -> None:
    found = _capabilities(connection, capabilities, known, chosen)
    if found is None:
        name = host_architecture().name
        raise Unsupported(
            f"libvirt cannot run machines of {name} on this host. Install QEMU for {name} "
            "(package qemu-system)."
        )
    check_size(connection, found, memory=request.memory, processors=request.processors)


def _capabilities(
    connection: Connection, capabilities: HostCapabilities, known: _Known, chosen: ChosenType
) -> Capabilities | None:
    if chosen.type is DomainType.LXC:
        return Capabilities(_CONTAINER_PROCESSORS)
    if chosen.type is DomainType.KVM:
        return known.kvm
    return capabilities.of(connection, chosen.type)
