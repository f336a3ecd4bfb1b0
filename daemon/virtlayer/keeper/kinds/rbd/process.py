# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects to a process for an RBD pool (``virtlayer.rbd``), which has access to its cluster.

In the system, systemd starts one for each connection. In a session, this process starts it as its
child, and passes one end of a socket pair as its standard input.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from virtlayer.errors import PoolUnavailable, PoolUnsupported
from virtlayer.keeper.users import qemu_identity
from virtlayer.programs import running

SYSTEM_SOCKET = Path("/run/virtlayer-rbd/socket")
"""Where systemd listens (virtlayer-rbd.socket)."""
PROGRAM = "virtlayer-rbd"
_END_SECONDS = 5.0
"""How long a child may take to end after its connection has ended."""

type Connect = Callable[[], AbstractAsyncContextManager[socket.socket]]
"""Connects to a new process; when the context ends, one that was started for it has ended."""


@contextlib.asynccontextmanager
async def system_process(path: Path = SYSTEM_SOCKET) -> AsyncIterator[socket.socket]:
    """Connect to a process that systemd starts.

    Raises:
        PoolUnavailable: It cannot be reached.
        PoolUnsupported: systemd does not listen.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(os.fspath(path))
        except FileNotFoundError as error:
            raise PoolUnsupported(
                f"RBD pools require the package {PROGRAM}. Install it. If it is installed, run "
                f'"systemctl enable --now {PROGRAM}.socket".'
            ) from error
        except OSError as error:
            raise PoolUnavailable(
                f"{PROGRAM}, which RBD pools require, cannot be reached at {path}: "
                f'{error.strerror}. Run "systemctl start {PROGRAM}.socket".'
            ) from error
        yield connection


@contextlib.asynccontextmanager
async def own_process() -> AsyncIterator[socket.socket]:
    """Start a process as a child; root's runs as the user of QEMU's programs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        async with running(
            [sys.executable, "-I", "-m", "virtlayer.rbd"],
            stdin=theirs.fileno(),
            stderr=None,
            identity=qemu_identity(),
        ) as program:
            theirs.close()
            yield ours
            ours.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await program.wait()
