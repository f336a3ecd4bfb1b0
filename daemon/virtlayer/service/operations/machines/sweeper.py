# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sweeps what machines have left: when an ephemeral machine ends, and when the service starts."""

import asyncio
import logging
from typing import Self

from virtlayer import journal
from virtlayer.errors import VirtlayerError
from virtlayer.protocol.domains import KnownDomain, State
from virtlayer.protocol.pools import CHAIN_KINDS, PoolState
from virtlayer.service.operations.machines.sweeping import sweep_machines
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)

_ACTIVE = ("running", "degraded")


class MachineSweeper:
    """Sweeps pools in the background; on exit, it waits until that has ended or is cancelled.

    Args:
        services: The daemon's parts.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sweeps: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        sweeps = tuple(self._sweeps)
        for sweep in sweeps:
            sweep.cancel()
        if sweeps:
            await asyncio.wait(sweeps)

    def begin(self) -> None:
        """Begin to sweep all pools: machines may have ended while no service ran."""
        self._begin(None)

    def machine_changed(self, machine: KnownDomain, state: State | None) -> None:
        """Begin to sweep the pool of a machine that no longer exists."""
        if state is None:
            self._begin(machine.pool)

    def _begin(self, uuid: str | None) -> None:
        sweep = asyncio.create_task(self._sweep(uuid), name="sweep of machines")
        self._sweeps.add(sweep)
        sweep.add_done_callback(self._sweeps.discard)

    async def _sweep(self, uuid: str | None) -> None:
        # One at a time: the end of many machines at a time needs one sweep.
        async with self._turn:
            try:
                pools = await self._services.pools.states()
            except VirtlayerError as error:
                _log.warning("Cannot look for what machines have left: %s", error)
                return
            for pool in pools:
                is_usable = pool.kind in CHAIN_KINDS and pool.state in _ACTIVE
                if is_usable and uuid in (None, pool.uuid):
                    await self._sweep_pool(pool)

    async def _sweep_pool(self, state: PoolState) -> None:
        services = self._services
        try:
            pool = await services.pools.get(state.name)
            await services.records.synchronize(pool)
            await sweep_machines(services, pool)
        except VirtlayerError as error:
            _log.warning(
                'Cannot delete what machines have left in the pool "%s": %s',
                state.name,
                error,
                extra=journal.fields(pool=state.name),
            )
