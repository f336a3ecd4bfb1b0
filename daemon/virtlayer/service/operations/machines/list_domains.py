# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists the machines and containers that virtlayer has made."""

import asyncio
from dataclasses import dataclass

from virtlayer.protocol.domains import State
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDomain:
    """A machine or container.

    Attributes:
        name: The name of its domain.
        uuid: The UUID of its domain.
        state: Its state.
        pool: The name of the pool of its volume; its UUID if libvirt has no such pool.
        image: The name of its image.
    """

    name: str
    uuid: str
    state: State
    pool: str
    image: str


async def list_domains(services: Services) -> tuple[ListedDomain, ...]:
    """List the machines, running or not, by name.

    Raises:
        VirtlayerError: libvirt cannot be asked.
    """
    found, pools = await asyncio.gather(services.keeper.domains.list(), services.pools.states())
    names = {pool.uuid: pool.name for pool in pools}
    listed = (
        ListedDomain(
            name=domain.name,
            uuid=domain.uuid,
            state=domain.state,
            pool=names.get(domain.pool, domain.pool),
            image=domain.image,
        )
        for domain in found.domains
    )
    return tuple(sorted(listed, key=lambda domain: domain.name))
