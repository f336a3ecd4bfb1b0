# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers of RBD images, which the process of the pool runs, as programs of the service."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence

from virtlayer.cancellation import stopped, to_completion
from virtlayer.errors import Internal, PoolUnavailable
from virtlayer.keeper.kinds.rbd.processes import RbdProcess
from virtlayer.keeper.kinds.rbd.received import received_pidfd
from virtlayer.protocol import rbd
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.programs import Ended, StartProgram

_KILLED = Ended(-signal.SIGKILL, "")
"""A server ends with its process."""


class ImageServer:
    """A running server; a ``programs.StartedProgram``."""

    name = "qemu-storage-daemon"

    def __init__(self, process: RbdProcess, number: int, pidfd: OwnedDescriptor) -> None:
        self._process = process
        self._number = number
        self._pidfd = pidfd
        self._ended: Ended | None = None
        self._waiting: asyncio.Task[None] | None = None
        process.hold()

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return None if self._ended is None else self._ended.status

    @property
    def stderr_tail(self) -> str:
        """The end of its standard error."""
        return "" if self._ended is None else self._ended.stderr

    def open_pidfd(self) -> int:
        """Open a descriptor of its process, which is the caller's."""
        return os.dup(self._pidfd)

    async def wait(self) -> int:
        """Wait for its end; its exit status.

        Raises:
            PoolUnavailable: The process of the pool has ended.
        """
        if self._waiting is None:
            # One for all that wait: the process answers a limited number of requests at a time.
            self._waiting = asyncio.create_task(self._wait(), name="end of a server")
        await asyncio.shield(self._waiting)
        assert self._ended is not None, "set by the task"
        return self._ended.status

    def terminate(self) -> None:
        """Ask it to end, after a flush."""
        self._process.in_background(self._end(kill=False))

    async def kill(self) -> None:
        """Kill it, and forget it."""
        try:
            await self._end(kill=True)
        except PoolUnavailable:
            if not self._process.ended:
                raise
            self._ended = self._ended or _KILLED
        finally:
            if self._waiting is not None:
                await stopped(self._waiting)
            self._pidfd.close()
            self._process.let_go()

    async def _wait(self) -> None:
        self._ended = await self._process.ask(rbd.WAIT_SERVER, rbd.Serving(self._number))

    async def _end(self, *, kill: bool) -> None:
        request = rbd.EndServer(self._number, kill)
        ended = await self._process.ask(rbd.END_SERVER, request)
        if kill:
            self._ended = self._ended or ended


@contextlib.asynccontextmanager
async def serving(
    process: RbdProcess, staging: int, request: StartProgram, descriptors: Sequence[int]
) -> AsyncIterator[ImageServer]:
    """Let the process serve an image for as long as the context lasts.

    Args:
        process: The process of the pool.
        staging: The staging place there.
        request: What the service asks for.
        descriptors: The listening socket; the process checks it.

    Raises:
        Internal: There is no image to be served, or not one descriptor.
        VirtlayerError: The process refuses.
    """
    if request.image is None or len(descriptors) != 1:
        raise Internal("The server of an image requires an image and one descriptor.")
    serve = rbd.ServeImage(staging, request.image, request.writable)

    async def start() -> ImageServer:
        serving, received = await process.ask_with(rbd.SERVE_IMAGE, serve, descriptors)
        return ImageServer(process, serving.server, OwnedDescriptor(received_pidfd(received)))

    server = await process.made(start(), ImageServer.kill)
    try:
        yield server
    finally:
        await to_completion(server.kill())
