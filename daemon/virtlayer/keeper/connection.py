# SPDX-License-Identifier: LGPL-2.1-or-later
"""The connection to libvirt: calls in threads, reconnection after restarts of libvirtd."""

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Concatenate, Self
from urllib.parse import urlsplit

from virtlayer.errors import Libvirt, PoolUnavailable
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.calls import run_libvirt_events
from virtlayer.keeper.failures import LibvirtError, translated, undecodable
from virtlayer.protocol.virsh import virsh

type Connection = libvirt.virConnect
"""What the functions that ``Hypervisor.call`` runs get first."""

_THREADS = 8
_KEEPALIVE_INTERVAL = 3
_KEEPALIVE_COUNT = 2
"""A libvirtd that does not answer for about 9 s (interval times count, plus one) is lost."""
_CLOSE_SECONDS = 1.0
"""At exit, a libvirtd that hangs is not waited for."""
_RECONNECT_SECONDS = 5.0
"""How long a lost libvirtd may take to restart."""
_RECONNECT_PAUSE = 0.1
_ANSWER_SECONDS = 120.0
"""How long libvirtd may take to answer. Version 11.3 hangs for good when it refreshes a pool with
an overlay whose backing file is a FIFO, of no stated format; it answers pings meanwhile."""


class _Lost(Exception):
    """The connection to libvirtd was lost since the last call."""


class Hypervisor:
    """A libvirt connection that opens again when libvirtd has restarted.

    Args:
        uri: The libvirt URI; of this machine, because the volumes are written as files.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        containers = _container_uri(uri)
        self.containers = None if containers is None else Hypervisor(containers)
        """The connection to the driver of containers of the same libvirt; None in a session."""
        self._connection: Connection | None = None
        self._was_open = False
        self._opening = asyncio.Lock()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="libvirt")

    async def open(self) -> None:
        """Connect now, so that a wrong URI is known at once.

        Raises:
            Libvirt: The URI is that of another host.
            PoolUnavailable: libvirt cannot be reached.
        """
        await self._connected()

    async def is_installed(self) -> bool:
        """Whether libvirt has this driver.

        Raises:
            PoolUnavailable: It has, and cannot be reached.
        """
        try:
            await self.call(_nothing)
        except PoolUnavailable as error:
            if isinstance(error.__cause__, libvirt.libvirtError) and _is_missing(error.__cause__):
                return False
            raise
        return True

    async def close(self) -> None:
        """Disconnect; no call may follow."""
        if self.containers is not None:
            await self.containers.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._in_thread(connection.close)
        self._executor.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def call[**P, T](
        self,
        function: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function of blocking libvirt calls in a thread.

        Args:
            function: It gets the connection first. When libvirtd goes away meanwhile it is run
                once more, on a new connection: it must be one that can be repeated.
            args: What else it gets.
            kwargs: And by name.

        Raises:
            PoolUnavailable: libvirtd does not answer. The thread waits until libvirtd ends.
            VirtlayerError: What libvirt's error means, by ``failures.translated``.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._called(function, *args, **kwargs)
        except TimeoutError as error:
            raise PoolUnavailable(
                f"libvirtd did not answer within {_ANSWER_SECONDS:.0f} s. If "
                f'"{virsh(self.uri, "pool-list")}" does not answer either, restart libvirtd. It '
                "hangs on images in pools whose backing file is a FIFO: delete them."
            ) from error

    async def _called[**P, T](
        self,
        function: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        connection = await self._connected()
        try:
            call = partial(function, connection, *args, **kwargs)
            return await self._in_thread(_if_alive, connection, call)
        except _Lost:
            pass
        except UnicodeDecodeError as error:
            raise undecodable(error) from error
        except libvirt.libvirtError as error:
            if await self._in_thread(_is_alive, connection):
                raise translated(error, self.uri) from error
        connection = await self._connected(instead_of=connection)
        try:
            return await self._in_thread(function, connection, *args, **kwargs)
        except UnicodeDecodeError as error:
            raise undecodable(error) from error
        except libvirt.libvirtError as error:
            raise translated(error, self.uri) from error

    async def _connected(self, *, instead_of: Connection | None = None) -> Connection:
        """Return the connection; open it if there is none, or only this one, which is lost."""
        async with self._opening:
            connection = self._connection
            if connection is not None and connection is not instead_of:
                return connection
            self._connection = None
            if connection is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    await self._in_thread(connection.close)
            self._connection = await self._opened()
            self._was_open = True
            return self._connection

    async def _opened(self) -> Connection:
        # Only one that was open before is worth waiting for.
        deadline = time.monotonic() + (_RECONNECT_SECONDS if self._was_open else 0)
        while True:
            try:
                return await self._in_thread(_open, self.uri)
            except libvirt.libvirtError as error:
                if time.monotonic() >= deadline:
                    raise PoolUnavailable(
                        f"Cannot connect to libvirt at {self.uri}: {error.get_error_message()}. "
                        "Check that libvirtd is running, and the URI (--connect)."
                    ) from error
            await asyncio.sleep(_RECONNECT_PAUSE)

    async def _in_thread[**P, T](
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))


def _open(uri: str) -> Connection:
    if urlsplit(uri).netloc:
        raise Libvirt(
            f"The libvirt URI {uri} is that of another host. virtlayerd writes volumes as files: "
            "run it on that host, or use a URI without a host name."
        )
    _run_event_loop()
    connection = libvirt.open(uri)
    # A driver inside this process (test:///) has no connection to keep alive.
    with contextlib.suppress(libvirt.libvirtError):
        connection.setKeepAlive(_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT)
    return connection


def _nothing(_connection: Connection) -> None:
    """Only connect."""


def _container_uri(uri: str) -> str | None:
    """The URI of libvirt-LXC where a URI is that of QEMU in the system."""
    scheme, separator, rest = uri.partition(":")
    driver, plus, transport = scheme.partition("+")
    if driver != "qemu" or urlsplit(uri).path != "/system":
        return None
    return f"lxc{plus}{transport}{separator}{rest}"


def _is_missing(error: LibvirtError) -> bool:
    """Whether libvirt says that it does not have a driver: no module, or no daemon for it."""
    if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR:
        return bool(error.get_int1() == errno.ENOENT)
    return error.get_error_code() in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_NO_SUPPORT)


def _if_alive[T](connection: Connection, call: Callable[[], T]) -> T:
    """Make a call unless the connection is lost, with one switch to a thread instead of two."""
    if not _is_alive(connection):
        raise _Lost
    return call()


def _is_alive(connection: Connection) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


_event_loop_lock = threading.Lock()
_event_loop_runs = False


def _run_event_loop() -> None:
    """Start libvirt's own event loop, which keepalive needs, once per process.

    It has to be registered before the first connection is opened.
    """
    global _event_loop_runs
    with _event_loop_lock:
        if not _event_loop_runs:
            # Without a handler of ours, libvirt prints every error to standard error.
            libvirt.registerErrorHandler(_ignore, None)
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_turn, name="libvirt events", daemon=True).start()
            _event_loop_runs = True


def _turn() -> None:
    while True:
        run_libvirt_events()
        time.sleep(1)  # It has failed, and may fail again immediately: do not loop without a pause.


def _ignore(_context: object, _error: object) -> None:
    """Every error that matters is raised as libvirtError as well."""
