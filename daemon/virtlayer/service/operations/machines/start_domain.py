# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts a machine or container that virtlayer has made."""

from dataclasses import dataclass

from virtlayer.protocol.domains import Control, State
from virtlayer.protocol.names import DomainName
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.machines.domain_lookup import domain_of
from virtlayer.service.operations.machines.starting import Startable, start_machine
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDomainRequest:
    """A request to start a machine.

    Attributes:
        name: The name of its domain.
    """

    name: DomainName


async def start_domain(services: Services, request: StartDomainRequest, job: Job) -> None:
    """Start a machine, or let it go on if it is paused; nothing happens if it runs.

    Raises:
        DomainNotFound: virtlayer has not made such a machine.
        DomainFailed: It did not start, or did not reach its init.
        VirtlayerError: libvirt cannot be asked.
    """
    domain = await domain_of(services, request.name)
    if domain.state is State.PAUSED:
        # Its init runs already.
        await services.keeper.domains.control(domain.uuid, domain.pool, Control.START)
    elif domain.state not in (State.RUNNING, State.STOPPING):
        machine = Startable(
            name=domain.name,
            uuid=domain.uuid,
            pool=domain.pool,
            has_streams=domain.has_streams,
        )
        await start_machine(services, machine, job)
