# SPDX-License-Identifier: LGPL-2.1-or-later
"""One process for the images of a job: qemu-storage-daemon, which makes and serves all of them.

It is told what to do over a socket that it inherits, and serves NBD on another one, which has a
name in the directory of the images, for this user alone.
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from virtlayer.programs import RunningProgram, running
from virtlayer.service.chain.qmp import Monitor

_PROGRAM = "qemu-storage-daemon"
_ENDPOINT = "nbd"
_MEMORY = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
"""The program allocates memory for each request. Left alone, malloc(3) maps what is as large as a
write, and the kernel clears it: a third of all that the program does."""


class StorageDaemon:
    """A running qemu-storage-daemon.

    Attributes:
        directory: A descriptor of where it works: a bare name is that of a file there.
        monitor: Where it is told what to do.
    """

    def __init__(
        self, directory: int, monitor: Monitor, program: RunningProgram, address: str
    ) -> None:
        self.directory = directory
        self.monitor = monitor
        self._program = program
        self._address = address

    async def connected(self) -> socket.socket:
        """Connect to its NBD server; the socket is before the handshake, and the caller's to close.

        Raises:
            ProgramFailed: It has ended.
        """
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The queue of a socket that listens is there before the program looks into it.
            client.connect(self._address)
        except ConnectionRefusedError:
            client.close()
            await self._program.wait()
            raise self._program.failure() from None
        except BaseException:
            client.close()
            raise
        return client

    def let_go(self) -> None:
        """Say that it is not needed any more: it ends while the caller does the rest."""
        self._program.terminate()


@contextlib.asynccontextmanager
async def storage_daemon(directory: int) -> AsyncIterator[StorageDaemon]:
    """Run a qemu-storage-daemon for as long as the context lasts.

    It starts meanwhile. It is killed on leaving: whatever is to last must be in its file by then.

    Args:
        directory: A descriptor of the directory of the images; nobody else may enter it, because
            the socket is there.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, _listening(directory) as (server, address):
        ours.setblocking(False)
        descriptors = [theirs.fileno(), server.fileno()]
        async with running(
            [
                *(_PROGRAM, "--chardev", f"socket,id=qmp,fd={theirs.fileno()}"),
                *("--monitor", "chardev=qmp"),
                *("--nbd-server", f"addr.type=fd,addr.str={server.fileno()}"),
            ],
            pass_fds=descriptors,
            env={"GLIBC_TUNABLES": _MEMORY},
            cwd=Path(f"/proc/self/fd/{directory}"),
        ) as program:
            # Their ends are the program's alone now, so that its end is seen.
            theirs.close()
            server.close()
            yield StorageDaemon(directory, Monitor(ours, program), program, address)


@contextlib.contextmanager
def _listening(directory: int) -> Iterator[tuple[socket.socket, str]]:
    # The path of a socket has at most 107 bytes, and a pool's may be long.
    address = f"/proc/self/fd/{directory}/{_ENDPOINT}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(address)
        try:
            server.listen()
            yield server, address
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_ENDPOINT, dir_fd=directory)
