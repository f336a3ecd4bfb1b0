# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports changes of the states of machines, also those that other programs make."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from virtlayer.errors import VirtlayerError
from virtlayer.protocol.domains import KnownDomain, State
from virtlayer.service.keeper.domains import Domains

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
"""The time until a keeper or libvirt that cannot be reached is asked again."""


class MachineListener(Protocol):
    """A receiver of notices about machines."""

    def machine_changed(self, machine: KnownDomain, state: State | None) -> None:
        """A machine has another state.

        Args:
            machine: The machine as it is; the last known values if it no longer exists.
            state: Its state; None if it no longer exists.
        """


class MachineWatch:
    """Compares each list of the machines with the one before.

    Args:
        domains: Lists the machines.
    """

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._listeners: list[MachineListener] = []
        self._known: dict[str, KnownDomain] | None = None
        """By UUID; None before the first list."""
        self._problem = ""

    def subscribe(self, listener: MachineListener) -> None:
        """Report every change to this listener from now on."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch the machines, until this is cancelled."""
        generation: int | None = None
        while True:
            try:
                listed = await self._domains.list(since=generation)
            except VirtlayerError as error:
                self._report(error)
                generation = None
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._problem = ""
            generation = listed.generation
            self._compare(listed.domains)

    def _compare(self, machines: Iterable[KnownDomain]) -> None:
        before, self._known = self._known, {machine.uuid: machine for machine in machines}
        if before is None:
            return
        for uuid in before.keys() - self._known.keys():
            self._tell(before[uuid], None)
        for uuid, machine in self._known.items():
            if uuid not in before or before[uuid].state is not machine.state:
                self._tell(machine, machine.state)

    def _tell(self, machine: KnownDomain, state: State | None) -> None:
        for listener in self._listeners:
            listener.machine_changed(machine, state)

    def _report(self, error: VirtlayerError) -> None:
        """Log a problem, but the same one only once."""
        if error.message != self._problem:
            self._problem = error.message
            _log.warning("Cannot see which machines there are: %s", error)
