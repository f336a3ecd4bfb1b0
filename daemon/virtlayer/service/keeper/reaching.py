# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects to the keeper: by a socket in the system service, as a child in a session."""

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from virtlayer.errors import PoolUnavailable
from virtlayer.programs import Confinement, running
from virtlayer.service.keeper.connection import Connect

SYSTEM_SOCKET = Path("/run/virtlayer-keeper/socket")
"""The socket of the keeper, where systemd listens (virtlayer-keeper.socket)."""


def system_keeper(path: Path = SYSTEM_SOCKET) -> Connect:
    """Connect to the system keeper, which systemd starts."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(str(path))
            except OSError as error:
                raise PoolUnavailable(
                    f"virtlayer-keeper cannot be reached at {path}: {error.strerror}. "
                    'Run "systemctl start virtlayer-keeper.socket".'
                ) from error
            yield connection

    return connect


def own_keeper(uri: str, config: Path) -> Connect:
    """Start a keeper that ends with this process, or with the connection.

    Args:
        uri: The libvirt URI.
        config: The settings.
    """

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            async with running(
                [
                    *(sys.executable, "-I", "-m", "virtlayer.keeper"),
                    *("--connect", uri, "--config", config),
                ],
                stdin=theirs.fileno(),
                stderr=None,
                bare=True,
                # A libvirtd that it starts keeps running virtual machines, so it must not be
                # restricted.
                env=os.environ,
                confinement=Confinement.NONE,
            ) as program:
                theirs.close()
                yield ours
                ours.close()
                await program.wait()

    return connect
