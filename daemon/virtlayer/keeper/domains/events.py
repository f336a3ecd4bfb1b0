# SPDX-License-Identifier: LGPL-2.1-or-later
"""Receives libvirt's events about domains, and the end of a connection to libvirt.

libvirt calls back in the thread of its event loop (``connection``). From there everything is handed
to asyncio's loop.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.drivers import drivers

_NUMBERS = 2**53
"""Generations are less than this."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a domain's state (virDomainEventType, and the detail of each type)."""

    type: int
    detail: int


class DomainEvents:
    """The changes of all domains of a libvirt.

    Args:
        hypervisor: The connection to libvirt.
        on_change: Called with the UUID of every domain that has changed; with None if the
            connection was lost, so that any may have.

    Attributes:
        generation: Another number after every change. It does not begin with 0: the service may
            know a number of an earlier process.
    """

    def __init__(self, hypervisor: Hypervisor, on_change: Callable[[str | None], None]) -> None:
        self._on_change = on_change
        self.generation = time.time_ns() // 1_000_000 % _NUMBERS
        self._hypervisor = hypervisor
        self._watched: dict[str, tuple[Connection, int]] = {}
        # libvirt refuses to register the same callback twice.
        self._registering = asyncio.Lock()
        self._changed = asyncio.Event()
        self._followers: dict[str, list[asyncio.Queue[Event | None]]] = {}

    async def watch(self) -> None:
        """Receive events from now on, on the present connection.

        Raises:
            VirtlayerError: libvirt cannot be reached.
        """
        loop = asyncio.get_running_loop()
        async with self._registering:
            for driver in await drivers(self._hypervisor):
                await driver.call(self._register, driver.uri, loop)

    async def changed(self, since: int, seconds: float) -> None:
        """Wait until the generation is another one.

        Args:
            since: The known generation.
            seconds: How long to wait at most.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.generation == since:
                    await self._changed.wait()

    @contextlib.contextmanager
    def of(self, uuid: str) -> Iterator[asyncio.Queue[Event | None]]:
        """Provide the events of one domain within the context; None if the connection was lost."""
        queue = asyncio.Queue[Event | None]()
        self._followers.setdefault(uuid, []).append(queue)
        try:
            yield queue
        finally:
            self._followers[uuid].remove(queue)
            if not self._followers[uuid]:
                del self._followers[uuid]

    def _register(self, connection: Connection, uri: str, loop: asyncio.AbstractEventLoop) -> None:
        former, number = self._watched.get(uri, (None, -1))
        if connection is former:
            return

        def on_event(
            _connection: object, domain: libvirt.virDomain, kind: int, detail: int, _data: object
        ) -> None:
            uuid = domain.UUIDString()
            _tell(loop, lambda: self._accept(uuid, Event(kind, detail)))

        def on_end(_connection: object, _reason: int, _data: object) -> None:
            _tell(loop, self._lost)

        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        # A driver inside this process (test:///) has no connection to lose.
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(on_end, None)
        registered = connection.domainEventRegisterAny(None, kind, on_event, None)
        self._watched[uri] = connection, registered
        if former is not None:
            # Otherwise libvirt would keep the lost connection.
            with contextlib.suppress(libvirt.libvirtError):
                former.domainEventDeregisterAny(number)
        # What happened on no connection is not known.
        _tell(loop, self._lost)

    def _accept(self, uuid: str, event: Event) -> None:
        self._grow(uuid)
        for queue in self._followers.get(uuid, ()):
            queue.put_nowait(event)

    def _lost(self) -> None:
        self._grow(None)
        for queues in self._followers.values():
            for queue in queues:
                queue.put_nowait(None)

    def _grow(self, changed: str | None) -> None:
        self._on_change(changed)
        self.generation = (self.generation + 1) % _NUMBERS
        self._changed.set()
        self._changed.clear()


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    # The loop is closed when the process ends.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
