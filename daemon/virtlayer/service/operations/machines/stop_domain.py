# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stops a machine or container that virtlayer has made.

The first power button sends the image's StopSignal, as our init has it; the second ends everything
in order. A machine with an init of its own has one button only. What runs after that is ended.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from virtlayer.errors import DomainNotFound, InvalidArgument
from virtlayer.protocol.domains import Control, KnownDomain, State
from virtlayer.protocol.names import DomainName
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.operations.machines.domain_lookup import RUNNING, domain_of, states_of
from virtlayer.service.operations.services import Services

DEFAULT_TIMEOUT = 10
_LONGEST_TIMEOUT = 24 * 60 * 60
_SECOND_BUTTON_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopDomainRequest:
    """A request to stop a machine.

    Attributes:
        name: The name of its domain.
        timeout: Seconds that it may take after it was asked to stop; then it is stopped by force.
            With 0, it is not asked.

    Raises:
        InvalidArgument: The timeout is too long.
    """

    name: DomainName
    timeout: int = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        if self.timeout > _LONGEST_TIMEOUT:
            raise InvalidArgument(
                f'Invalid option "timeout": {self.timeout} s. The longest is {_LONGEST_TIMEOUT} s.'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedDomain:
    """A machine that was stopped.

    Attributes:
        forced: Whether it did not stop by itself in time.
    """

    forced: bool


async def stop_domain(services: Services, request: StopDomainRequest, job: Job) -> StoppedDomain:
    """Stop a machine; nothing happens if it does not run.

    Raises:
        DomainNotFound: virtlayer has not made such a machine.
        VirtlayerError: libvirt cannot stop it.
    """
    domain = await domain_of(services, request.name)
    job.report.set_stage(Stage.STOPPING)
    if domain.state is State.CREATED:
        await end_domain(services, domain)
        return StoppedDomain(forced=False)
    if domain.state not in RUNNING:
        return StoppedDomain(forced=False)
    patience = [float(request.timeout), _SECOND_BUTTON_SECONDS]
    if not request.timeout:
        patience = []
    elif not domain.has_streams:
        patience = patience[:1]
    for seconds in patience:
        with contextlib.suppress(DomainNotFound):
            await _control(services, domain, Control.PRESS_BUTTON)
        if await _ended(services, domain, seconds):
            return StoppedDomain(forced=False)
    await end_domain(services, domain)
    return StoppedDomain(forced=True)


async def end_domain(services: Services, domain: KnownDomain) -> None:
    """End a machine at once; nothing happens if it does not run.

    Raises:
        VirtlayerError: libvirt cannot end it.
    """
    with contextlib.suppress(DomainNotFound):
        await _control(services, domain, Control.DESTROY)


async def _control(services: Services, domain: KnownDomain, action: Control) -> None:
    await services.keeper.domains.control(domain.uuid, domain.pool, action)


async def _ended(services: Services, domain: KnownDomain, seconds: float) -> bool:
    """Whether a machine has ended within some time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for state in states_of(services, domain.uuid):
                if state not in RUNNING:
                    return True
    return False
