# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the pool of a call that names none."""

from virtlayer.errors import InvalidArgument, PoolNotFound
from virtlayer.protocol.names import PoolName, parse_pool_name
from virtlayer.protocol.pools import CHAIN_KINDS
from virtlayer.service.operations.services import Services

_DEFAULT = "default"
_ACTIVE = ("running", "degraded")


async def default_pool(services: Services) -> PoolName:
    """Return the pool "default" if it is active, else the only active pool that can have images.

    Raises:
        PoolNotFound: No pool is active.
        InvalidArgument: Several pools are active, and none of them is called "default".
        PoolUnavailable: libvirt cannot be asked.
    """
    pools = sorted(
        pool.name
        for pool in await services.pools.states()
        if pool.state in _ACTIVE and pool.kind in CHAIN_KINDS
    )
    if _DEFAULT in pools:
        return parse_pool_name(_DEFAULT)
    if not pools:
        raise PoolNotFound(
            "No pool was given, and no storage pool that can have images is active. Start one, or "
            'define one: "virsh pool-define-as default dir --target DIRECTORY".'
        )
    if len(pools) > 1:
        raise InvalidArgument(
            f'No pool was given, no pool is called "default", and several are active: '
            f"{', '.join(pools)}. Name one of them."
        )
    return parse_pool_name(pools[0])
