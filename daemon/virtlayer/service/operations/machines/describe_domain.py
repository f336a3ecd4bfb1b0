# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes a machine or container that virtlayer has made."""

from dataclasses import dataclass

from virtlayer.protocol.domains import Boot, DomainType, PublishedPort, State
from virtlayer.protocol.names import DomainName
from virtlayer.service.machines.log_files import exit_status
from virtlayer.service.operations.machines.domain_lookup import domain_of, pool_name_of
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedDomain:
    """A machine or container.

    Attributes:
        name: The name of its domain.
        uuid: The UUID of its domain.
        state: Its state.
        pool: The name of the pool of its volume; its UUID if libvirt has no such pool.
        image: The name of its image.
        digest: The digest of the image's manifest.
        volume: The name of its volume; "" if it has none in that pool.
        type: How it runs.
        boot: How it boots.
        has_streams: Whether its program has streams of its own and an exit status; False if the
            image has its own init.
        memory: In bytes.
        processors: The number of virtual processors.
        ephemeral: Whether it is deleted when it stops.
        autostart: Whether libvirt starts it with the host.
        addresses: Its IP addresses, as far as libvirt knows them.
        ports: The published ports.
        exit_status: The status with which the entrypoint has ended, since the last start, as a
            shell has it; None if it has not ended, or if the image has its own init.
    """

    name: str
    uuid: str
    state: State
    pool: str
    image: str
    digest: str
    volume: str
    type: DomainType
    boot: Boot
    has_streams: bool
    memory: int
    processors: int
    ephemeral: bool
    autostart: bool
    addresses: tuple[str, ...]
    ports: tuple[PublishedPort, ...]
    exit_status: int | None


async def describe_domain(services: Services, name: DomainName) -> DescribedDomain:
    """Look at a machine, as libvirt knows it now.

    Raises:
        DomainNotFound: virtlayer has not made such a machine.
        VirtlayerError: libvirt cannot be asked.
    """
    domain = await domain_of(services, name)
    status = None
    if domain.has_streams and domain.state is not State.CREATED:
        status = await exit_status(services.keeper.domains, domain.uuid)
    return DescribedDomain(
        name=domain.name,
        uuid=domain.uuid,
        state=domain.state,
        pool=await pool_name_of(services, domain),
        image=domain.image,
        digest=domain.digest,
        volume=domain.disk,
        type=domain.type,
        boot=domain.boot,
        has_streams=domain.has_streams,
        memory=domain.memory,
        processors=domain.processors,
        ephemeral=domain.ephemeral,
        autostart=domain.autostart,
        addresses=domain.addresses,
        ports=domain.ports,
        exit_status=status,
    )
