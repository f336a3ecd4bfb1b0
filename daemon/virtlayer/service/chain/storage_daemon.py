# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one qemu-storage-daemon for a job, which makes and serves all of its images.

It receives commands over a socket that it inherits, and serves NBD on another one (``nbd_socket``).
"""

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.service.chain.nbd_socket import connected, listening
from virtlayer.service.chain.qmp import Monitor
from virtlayer.service.keeper.programs import Program, Programs


class Workplace(Programs, Protocol):
    """The part of ``service.keeper.staging.Staging`` that is used here."""

    direct: bool
    """Whether files in it can be written past the page cache."""
    runtime: Path
    """A directory for sockets."""

    async def flush(self, file: str) -> None:
        """Check a finished file, and wait until all of it is on disk."""


class StorageDaemon:
    """A running qemu-storage-daemon.

    Attributes:
        direct: Whether its files can be written past the page cache.
        monitor: Its QMP monitor.
    """

    def __init__(self, monitor: Monitor, program: Program, address: str, *, direct: bool) -> None:
        self.direct = direct
        self.monitor = monitor
        self._program = program
        self._address = address

    async def connected(self) -> socket.socket:
        """Connect to its NBD server; the socket is before the handshake, and the caller closes it.

        Raises:
            ProgramFailed: It has ended.
        """
        return await connected(self._program, self._address)

    def let_go(self) -> None:
        """Stop it without waiting; the caller goes on while it ends."""
        self._program.terminate()


@contextlib.asynccontextmanager
async def storage_daemon(staging: Workplace) -> AsyncIterator[StorageDaemon]:
    """Run a qemu-storage-daemon for as long as the context lasts.

    It starts in the background. It is killed on leaving: all data must be in the files by then.

    Args:
        staging: The staging directory that it works in: a bare name is that of a file there.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, listening(staging.runtime) as (server, address):
        ours.setblocking(False)
        request = StartProgram(kind=Kind.STORAGE_DAEMON)
        descriptors = [theirs.fileno(), server.fileno()]
        async with staging.running(request, descriptors) as program:
            # Only the program has the other ends now, so that its end is detected.
            theirs.close()
            server.close()
            yield StorageDaemon(Monitor(ours, program), program, address, direct=staging.direct)
