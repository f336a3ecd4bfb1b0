# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets libvirt list what has changed in RBD pools, in the background.

libvirt's refresh takes 10 ms for each image; meanwhile libvirt answers nothing about the pool. On a
stalled cluster it takes 30 s, and libvirt deactivates the pool then. So no request waits for it, it
is left out while the cluster does not answer, and changes that come close together share one.
"""

import asyncio
import logging

from virtlayer.errors import PoolUnavailable, VirtlayerError
from virtlayer.keeper.kinds.rbd.images import find_images
from virtlayer.keeper.kinds.rbd.processes import RbdProcesses
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool

_log = logging.getLogger(__name__)

INTERVAL = 8.0
"""Seconds from the begin of a refresh to that of the next one, so that the list is at most 10 s
behind."""
_SHARE = 4
"""Of the time, a refresh that takes long takes at most the part that this is the divisor of."""
_SOON = 1.0
"""Seconds from a change to the refresh, because further changes may follow."""
_PROBE_SECONDS = 5.0
"""A cluster that does not answer within that time is stalled."""


class LibvirtLists:
    """Refreshes pools of libvirt after changes.

    Args:
        pools: The pools.
        processes: The processes of those in use.
    """

    def __init__(self, pools: Pools, processes: RbdProcesses) -> None:
        self._pools = pools
        self._processes = processes
        self._changed: dict[str, tuple[Pool, str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def changed(self, pool: Pool, name: str) -> None:
        """Let libvirt look at a pool soon, because an image was placed or removed.

        Args:
            pool: The pool.
            name: The image.
        """
        self._changed[pool.uuid] = pool, name
        if pool.uuid not in self._tasks:
            following = self._follow(pool.uuid)
            self._tasks[pool.uuid] = asyncio.create_task(following, name=f"list of {pool.name}")

    async def close(self) -> None:
        """Stop; changes may be missing from libvirt's list."""
        for task in (tasks := tuple(self._tasks.values())):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self, uuid: str) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while uuid in self._changed:
                await asyncio.sleep(_SOON)
                began = clock()
                pool, name = self._changed[uuid]
                if await self._answers(pool, name):
                    # A change that comes from now on may be missed.
                    del self._changed[uuid]
                    await self._refresh(pool)
                took = clock() - began
                await asyncio.sleep(max(INTERVAL - _SOON - took, (_SHARE - 1) * took))
        finally:
            del self._tasks[uuid]

    async def _refresh(self, pool: Pool) -> None:
        try:
            await self._pools.refresh_while_used(pool)
        except VirtlayerError as error:
            _log.warning('libvirt cannot refresh the pool "%s": %s', pool.name, error)

    async def _answers(self, pool: Pool, name: str) -> bool:
        """Whether the cluster answers; asking for an image asks an OSD."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await find_images(await self._processes.of(pool), [name])
        except (PoolUnavailable, TimeoutError):
            return False
        except VirtlayerError:
            # The pool is another one now. libvirt knows.
            pass
        return True
