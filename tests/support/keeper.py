# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper, as tests use it.

``running_keeper`` is the real process. ``LocalPrograms`` and ``LocalStaging`` start programs with
the keeper's own code in the test's process, for tests that need no pool.
"""

import asyncio
import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from virtlayer.keeper.beneath import can_be_direct
from virtlayer.keeper.kinds.directory.workplace import QEMU_PURPOSES
from virtlayer.keeper.programs import Backing, Place, creating_overlay, running
from virtlayer.keeper.users import qemu_uid
from virtlayer.programs import RunningProgram
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.programs import STAGED_OVERLAY, Ended, StartProgram
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.reaching import own_keeper

NO_LIBVIRT = "test:///default"


@contextlib.asynccontextmanager
async def running_keeper(
    uri: str = NO_LIBVIRT, inside: Sequence[str] | None = None
) -> AsyncIterator[Keeper]:
    """A keeper process for a libvirt; it has ended afterwards.

    Args:
        uri: Of the libvirt.
        inside: What runs it in the mount namespace of its libvirtd (``host.as_owner()``); None for
            a libvirtd that has the files of the host.
    """
    connect = own_keeper(uri, Path("/nonexistent"))
    if inside is not None:
        connect = functools.partial(_keeper_inside, uri, inside)
    with tempfile.TemporaryDirectory(prefix="run") as runtime:
        keeper = Keeper(connect, Path(runtime))
        try:
            # It starts when it is first asked.
            await keeper.pools.keeper_is_root()
            yield keeper
        finally:
            await keeper.close()


@contextlib.asynccontextmanager
async def _keeper_inside(uri: str, inside: Sequence[str]) -> AsyncIterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = (sys.executable, "-I", "-m", "virtlayer.keeper", "--connect", uri)
    with ours, theirs, subprocess.Popen([*inside, *keeper], stdin=theirs.fileno()) as process:
        theirs.close()
        try:
            yield ours
        finally:
            ours.close()
            await asyncio.to_thread(process.wait)


class LocalPrograms:
    """Starts programs that need no staging directory."""

    place: Place | None = None

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[RunningProgram]:
        """Run a program for as long as the context lasts."""
        return running(request, descriptors, self.place)


class LocalStaging(LocalPrograms):
    """A directory of the test's own in the place of a staging directory.

    Args:
        directory: A descriptor of it.
        purpose: What is made there.
        output: A descriptor of what a worker writes.
        runtime: Where sockets are made.
    """

    def __init__(
        self,
        directory: int,
        purpose: Purpose = Purpose.LAYERS,
        output: int | None = None,
        runtime: Path = Path("/tmp"),  # noqa: S108 -- the name of a socket there is random
    ) -> None:
        self.place = Place(purpose, directory, output)
        self.direct = purpose in QEMU_PURPOSES and can_be_direct(directory)
        self.runtime = runtime

    async def flush(self, file: str) -> None:
        """Do nothing: a test of images looks at the page cache."""

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Let qemu-img make an empty overlay."""
        assert self.place is not None
        assert file == STAGED_OVERLAY
        assert backing is not None
        layer = Backing(backing, "qcow2")
        async with creating_overlay(size, layer, self.place) as program:
            return Ended(await program.wait(), program.stderr_tail)


@contextlib.contextmanager
def local_staging(directory: Path, purpose: Purpose = Purpose.LAYERS) -> Iterator[LocalStaging]:
    """A directory in which QEMU's programs work; it becomes their user's."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if (uid := qemu_uid()) is not None:
            os.fchown(descriptor, uid, -1)
        yield LocalStaging(descriptor, purpose)
    finally:
        os.close(descriptor)
