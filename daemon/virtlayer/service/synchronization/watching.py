# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads every pool at intervals, to find images that other hosts have pulled or removed.

Polling is required, because inotify does not report changes by other hosts in a shared file system.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Self

from virtlayer import journal
from virtlayer.errors import VirtlayerError
from virtlayer.protocol.pools import CHAIN_KINDS, PoolState
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.synchronization.pool_records import PoolRecords

_log = logging.getLogger(__name__)

_INTERVAL = 5.0
"""The time between two reads, in seconds."""
_ACTIVE = ("running", "degraded")


class Watching:
    """Keeps the catalog up to date; on exit, it cancels the reads that still wait for a pool.

    Args:
        keeper: The keeper with access to the pools.
        catalog: The catalog to update.
        records: Reads the records of the pools.
    """

    def __init__(self, keeper: Keeper, catalog: Catalog, records: PoolRecords) -> None:
        self._keeper = keeper
        self._catalog = catalog
        self._records = records
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks)

    async def look(self, patience: float) -> None:
        """Read every pool once.

        Args:
            patience: The time to wait, in seconds; the read of a slow pool goes on.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._look()

    async def run(self) -> None:
        """Read every pool at intervals, until this is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.look(_INTERVAL)

    async def _look(self) -> None:
        try:
            pools = await self._keeper.pools.states()
        except VirtlayerError as error:
            self._report("", error)
            return
        self._problems.pop("", None)
        await self._forget_others(pools)
        looks = [
            self._begun(pool)
            for pool in pools
            if pool.kind in CHAIN_KINDS and pool.state in _ACTIVE and pool.uuid not in self._looks
        ]
        if looks:
            await asyncio.wait(looks)

    def _begun(self, pool: PoolState) -> asyncio.Task[None]:
        look = asyncio.create_task(self._look_at(pool), name=f"look at the pool {pool.name}")
        self._looks[pool.uuid] = look
        look.add_done_callback(lambda _: self._looks.pop(pool.uuid))
        return look

    async def _look_at(self, state: PoolState) -> None:
        try:
            await self._records.synchronize(await self._keeper.pools.get(state.name))
        except VirtlayerError as error:
            self._report(state.name, error)
        except Exception:  # an error of one pool must not affect the others
            _log.exception('Cannot read the records of the pool "%s"', state.name)
        else:
            self._problems.pop(state.name, None)

    async def _forget_others(self, pools: Iterable[PoolState]) -> None:
        """Delete pools that libvirt does not have, unless the catalog has their only data."""
        for pool in await self._catalog.records.pools() - {pool.name for pool in pools}:
            if not await self._catalog.records.unwritten(pool):
                await self._records.forget(pool)

    def _report(self, pool: str, error: VirtlayerError) -> None:
        """Log a problem, but the same one only once."""
        if self._problems.get(pool) != error.message:
            self._problems[pool] = error.message
            _log.warning(
                "Cannot see which images there are: %s",
                error,
                extra=journal.fields(pool=pool),
            )
