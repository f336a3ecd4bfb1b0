# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes leftovers of killed processes of any host from a pool: at first use, and by prune."""

import asyncio
import logging

from virtlayer import journal
from virtlayer.protocol.pools import Pool
from virtlayer.service.keeper.pools import Pools

_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps pools.

    Args:
        pools: The pools.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._swept: set[str] = set()
        self._lock = asyncio.Lock()

    async def visit(self, pool: Pool) -> None:
        """Sweep a pool, unless this process has done so before."""
        async with self._lock:
            if pool.uuid not in self._swept:
                await self.sweep(pool)

    async def sweep(self, pool: Pool) -> None:
        """Sweep a pool, unless another process has its lock; a later sweep does it then."""
        number = await self._pools.sweep(pool)
        if number is None:
            return
        self._swept.add(pool.uuid)
        if number:
            _log.warning(
                'Removed the files of %d unfinished jobs from the pool "%s".',
                number,
                pool.name,
                extra=journal.fields(pool=pool.name),
            )
