# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper of the system: accepts connections of the service, and ends when it is not needed."""

import asyncio
import contextlib
import errno
import logging
import os
import pwd
import socket
import struct

from virtlayer import journal
from virtlayer.errors import ServiceUnavailable
from virtlayer.keeper.answers.connection import ServiceConnection
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.pools import Pools

_log = logging.getLogger(__name__)

SERVICE_USER = "virtlayer"
"""The user whose connections are accepted, in addition to root's."""
_FIRST_PASSED = 3
"""The descriptor of the first socket that systemd passes (sd_listen_fds(3))."""
_CONNECTIONS_LIMIT = 8
"""A service has one; while it restarts there are two."""
_CREDENTIALS = struct.Struct("3i")
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED)
_ACCEPT_PAUSE = 1.0
"""Seconds until the next attempt after one of these."""


def inherited_socket() -> socket.socket:
    """The listening socket that the service manager has passed.

    Raises:
        ServiceUnavailable: It has passed none.
    """
    if (os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")) != (str(os.getpid()), "1"):
        raise ServiceUnavailable(
            'virtlayer-keeper is started by systemd (virtlayer-keeper.socket) or by "virtlayerd '
            '--session". Use one of these instead.'
        )
    return socket.socket(fileno=_FIRST_PASSED)


class Listener:
    """Serves the connections of a listening socket.

    Args:
        listening: The socket; stays the caller's.
        hypervisor: The connection to libvirt.
        pools: Its pools.
        kinds: The kinds of the pools.
        domains: Its domains.
        idle_timeout: Seconds after the end of the last connection after which ``serve`` returns; 0
            for never.
    """

    def __init__(
        self,
        listening: socket.socket,
        hypervisor: Hypervisor,
        pools: Pools,
        kinds: Kinds,
        domains: Domains,
        idle_timeout: int,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._hypervisor = hypervisor
        self._pools = pools
        self._kinds = kinds
        self._domains = domains
        self._idle_timeout = idle_timeout
        self._served: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        self._busy = asyncio.Event()
        self._quiet.set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until stopped, or until the idle timeout.

        Args:
            stop: Set when the process is asked to end.
        """
        journal.notify(READY=1)
        tasks = [
            asyncio.create_task(self._accept_all(), name="accept"),
            asyncio.create_task(self._idle(), name="idle exit"),
            asyncio.create_task(stop.wait(), name="stop signal"),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        journal.notify(STOPPING=1)
        for task in (*tasks, *self._served):
            task.cancel()
        await asyncio.wait([*tasks, *self._served])

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                # Existing connections continue, and free descriptors when they end.
                _log.warning("Cannot accept a connection: %s.", error.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            if not _may_connect(connection) or len(self._served) >= _CONNECTIONS_LIMIT:
                connection.close()
                continue
            self._quiet.clear()
            self._busy.set()
            task = asyncio.create_task(self._serve(connection), name="service")
            self._served.add(task)
            task.add_done_callback(self._served_one)

    def _served_one(self, task: asyncio.Task[None]) -> None:
        self._served.discard(task)
        if not self._served:
            self._busy.clear()
            self._quiet.set()

    async def _serve(self, connection: socket.socket) -> None:
        service = ServiceConnection(
            connection, self._hypervisor, self._pools, self._kinds, self._domains
        )
        try:
            await service.ended.wait()
        finally:
            await service.close()

    async def _idle(self) -> None:
        """Return when no client has been connected for the idle timeout."""
        while True:
            await self._quiet.wait()
            if not self._idle_timeout:
                await asyncio.Event().wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._idle_timeout):
                    await self._busy.wait()
                continue
            if self._quiet.is_set():
                return


def _may_connect(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    if uid in (0, _service_uid()):
        return True
    _log.warning("Refused a connection of UID %d.", uid)
    return False


def _service_uid() -> int:
    try:
        return pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        return 0
