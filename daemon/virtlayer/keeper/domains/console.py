# SPDX-License-Identifier: LGPL-2.1-or-later
"""The console of a domain: a stream of libvirt that does not block.

libvirt calls back in the thread of its event loop when there is something to read; it is asked to
do so again only when that was passed on.

What is typed is written to the pseudoterminal itself. libvirtd would keep it for a machine that
does not read it, and meanwhile read no other request of this process; version 11.3 then hangs for
good when the stream is closed.
"""

import asyncio
import contextlib
import os
from xml.etree.ElementTree import Element

from virtlayer.errors import DomainFailed, InUse, Libvirt
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.domains.listing import own_domain
from virtlayer.keeper.drivers import driver_of
from virtlayer.protocol.domains import State

type _Stream = libvirt.virStream

_AT_ONCE = 65536
_TERMINALS = "/dev/pts/"
_BUSY = -2
"""What libvirt's binding returns in place of bytes when it would have to wait."""


async def open_console(hypervisor: Hypervisor, uuid: str) -> "Console":
    """Open the console of a running domain of ours.

    Raises:
        DomainNotFound: There is no such domain of ours.
        DomainFailed: It does not run.
        InUse: Another program has its console open.
    """
    driver = await driver_of(hypervisor, uuid)
    console = Console(driver)
    try:
        await driver.call(console.open, uuid)
    except BaseException as error:
        await console.close()
        if isinstance(error, Libvirt) and "console session exists" in error.message:
            raise InUse(
                "The console of this machine is open in another program. Close it first."
            ) from error
        raise
    return console


class Console:
    """An open console (``relay.Line``).

    Args:
        hypervisor: The connection to libvirt.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._loop = asyncio.get_running_loop()
        self._stream: _Stream | None = None
        self._terminal = -1
        self._readable = asyncio.Event()
        self._ended = False

    def open(self, connection: Connection, uuid: str) -> None:
        """Open it; for ``Hypervisor.call``."""
        own = own_domain(connection, uuid)
        if own.state not in (State.RUNNING, State.PAUSED, State.STOPPING, State.CREATED):
            raise DomainFailed(f'The machine "{own.domain.name()}" does not run. Start it first.')
        self._close_terminal()
        self._terminal = _opened_terminal(own.found.root)
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        # libvirt-LXC does not know whether a console is open.
        is_container = connection.getType() == "LXC"
        flags = 0 if is_container else libvirt.VIR_DOMAIN_CONSOLE_SAFE
        own.domain.openConsole(None, stream, flags)
        self._stream = stream
        stream.eventAddCallback(_wanted(), self._on_event, None)

    async def receive(self) -> bytes:
        """Wait for bytes; none at its end."""
        while not self._ended:
            await self._readable.wait()
            self._readable.clear()
            data = await self._hypervisor.call(self._receive)
            if data is not None:
                return data
        return b""

    async def send(self, data: bytes) -> None:
        """Send bytes; wait as long as the machine does not take them."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._terminal, left) :]
            except BlockingIOError:
                await self._writable()

    async def close(self) -> None:
        """Close it."""
        self._ended = True
        self._readable.set()
        self._close_terminal()
        await self._hypervisor.call(self._close)

    def _receive(self, _connection: Connection) -> bytes | None:
        """Read what there is; None if it is nothing, and be called back for more."""
        stream = self._stream
        if stream is None:
            return b""
        try:
            data = stream.recv(_AT_ONCE)
            stream.eventUpdateCallback(_wanted())
        except libvirt.libvirtError:
            return b""
        return None if data == _BUSY else bytes(data)

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._terminal, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self._terminal)

    def _close_terminal(self) -> None:
        terminal, self._terminal = self._terminal, -1
        if terminal != -1:
            os.close(terminal)

    def _close(self, _connection: Connection) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(libvirt.libvirtError):
                stream.eventRemoveCallback()
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()

    def _on_event(self, stream: _Stream, _events: int, _data: object) -> None:
        # Not called again until the bytes are read.
        with contextlib.suppress(libvirt.libvirtError):
            stream.eventUpdateCallback(0)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._readable.set)


def _opened_terminal(domain: Element) -> int:
    """Open the pseudoterminal of a running domain for writing, without waiting for a reader."""
    for line in (*domain.iterfind("devices/serial"), *domain.iterfind("devices/console")):
        source = line.find("source")
        path = "" if source is None else source.get("path", "")
        if line.get("type") == "pty" and path.startswith(_TERMINALS):
            try:
                return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise DomainFailed(
                    f"The console of the machine cannot be opened: {error.strerror}. It may have "
                    "just ended."
                ) from error
    raise DomainFailed("The machine has no console. It may have just ended.")


def _wanted() -> int:
    return int(
        libvirt.VIR_STREAM_EVENT_READABLE
        | libvirt.VIR_STREAM_EVENT_ERROR
        | libvirt.VIR_STREAM_EVENT_HANGUP
    )
