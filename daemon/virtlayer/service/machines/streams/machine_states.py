# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of machines, for streams that end with their machine."""

import asyncio
import contextlib
from collections.abc import Iterator

from virtlayer.protocol.domains import KnownDomain, State
from virtlayer.service.keeper.domains import Domains

_ENDED = (State.STOPPED, State.CRASHED, None)


class MachineState:
    """The state of one machine.

    Attributes:
        value: Its state; None if it does not exist.
    """

    def __init__(self) -> None:
        self.value: State | None = None
        self._changed = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether it does not run, and is not about to."""
        return self.value in _ENDED

    def set(self, value: State | None) -> None:
        """Note a change."""
        self.value = value
        self._changed.set()

    async def differs(self, value: State | None) -> None:
        """Wait until it is another one."""
        while self.value is value:
            self._changed.clear()
            await self._changed.wait()


class MachineStates:
    """Knows the states of the machines that have streams. It is a listener to the machines.

    Args:
        domains: Lists the machines.
    """

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._watched: dict[str, set[MachineState]] = {}

    @contextlib.contextmanager
    def watched(self, uuid: str) -> Iterator[MachineState]:
        """Provide the state of a machine, which is kept up to date in the context."""
        state = MachineState()
        self._watched.setdefault(uuid, set()).add(state)
        try:
            yield state
        finally:
            self._watched[uuid].discard(state)
            if not self._watched[uuid]:
                del self._watched[uuid]

    async def look(self, uuid: str, state: MachineState) -> None:
        """Ask for the present state.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        # Anew: another program may be starting it, which libvirt reports when it has done so.
        listed = await self._domains.list()
        state.set(next((one.state for one in listed.domains if one.uuid == uuid), None))

    def machine_changed(self, machine: KnownDomain, state: State | None) -> None:
        """Note a change of a machine's state; for the watch of the machines."""
        for watched in self._watched.get(machine.uuid, ()):
            watched.set(state)
