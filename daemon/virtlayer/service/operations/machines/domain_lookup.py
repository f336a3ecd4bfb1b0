# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks up a machine by its name, and waits for its states."""

from collections.abc import AsyncIterator

from virtlayer.errors import DomainNotFound
from virtlayer.protocol.domains import NO_GENERATION, KnownDomain, State
from virtlayer.protocol.names import DomainName
from virtlayer.service.operations.services import Services

RUNNING = (State.RUNNING, State.PAUSED, State.STOPPING)
"""The states of a machine that was started and has not ended."""


async def domain_of(services: Services, name: DomainName) -> KnownDomain:
    """Return the machine of a name, with its addresses.

    Raises:
        DomainNotFound: libvirt has no domain of that name, or virtlayer has not made it.
    """
    domain = await services.keeper.domains.named(name)
    if domain is None:
        raise DomainNotFound(
            f'virtlayer has not made a machine "{name}". "virtlayer ps --all" lists its machines.'
        )
    return domain


async def pool_name_of(services: Services, domain: KnownDomain) -> str:
    """Return the name of the pool of a machine; its UUID if libvirt does not have it."""
    for pool in await services.pools.states():
        if pool.uuid == domain.pool:
            return pool.name
    return domain.pool


async def states_of(services: Services, uuid: str) -> AsyncIterator[State | None]:
    """Yield the state of a machine now and when domains change; None if it does not exist."""
    since = NO_GENERATION
    while True:
        found = await services.keeper.domains.list(since)
        since = found.generation
        states = [domain.state for domain in found.domains if domain.uuid == uuid]
        yield states[0] if states else None
