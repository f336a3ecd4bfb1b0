# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of NBD servers, in the service's own directory: no other user can connect."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from virtlayer.service.keeper.programs import Program


@contextlib.contextmanager
def listening(directory: Path) -> Iterator[tuple[socket.socket, str]]:
    """Listen on a socket in a directory; its name is removed when the context ends.

    Yields:
        The socket for the server, and the address for ``connected``.
    """
    # A path by descriptor, because that of a socket has at most 107 bytes and a directory's may be
    # longer.
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f"nbd-{secrets.token_hex(8)}"
    address = f"/proc/self/fd/{descriptor}/{name}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(address)
            try:
                server.listen()
                yield server, address
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


async def connected(program: Program, address: str) -> socket.socket:
    """Connect to a server; the socket is before the handshake, and the caller closes it.

    Args:
        program: The server, which may still be starting.
        address: From ``listening``.

    Raises:
        ProgramFailed: It has ended.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A listening socket queues connections before the program accepts them.
        client.connect(address)
    except ConnectionRefusedError:
        client.close()
        await program.wait()
        raise program.failure() from None
    except BaseException:
        client.close()
        raise
    return client
