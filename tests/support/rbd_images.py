# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes images by the process of an RBD pool, as a job does.

::

    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.layer("a", [(0, 7)])
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.rbd_process import RbdProcess, sealed
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.programs import Ended

SIZE = 64 * 2**20
"""Bytes of an image."""


def layer_name(digit: str) -> str:
    """The name of a layer."""
    return f"layer-{digit * 64}"


@dataclass(frozen=True, slots=True)
class Job:
    """A claim with a staging place.

    Attributes:
        process: The process.
        claim: The claim.
        staging: The number of the staging place.
    """

    process: RbdProcess
    claim: rbd.Claimed
    staging: int

    @classmethod
    async def started(
        cls, process: RbdProcess, purpose: Purpose = Purpose.LAYERS, *names: str
    ) -> "Job":
        """Claim volumes, and make a staging place."""
        request = rbd.Claim(claim=None, names=names, build=())
        claim, [descriptor] = await process.connection.ask_with(rbd.CLAIM, request, ())
        process.keep(descriptor)
        staged = await process.ask(rbd.STAGE, rbd.Stage(claim.claim, purpose))
        return cls(process, claim, staged.staging)

    async def create(self, file: str, parent: str | None = None, size: int = SIZE) -> None:
        """Make an image."""
        await self.process.ask(rbd.CREATE_IMAGE, rbd.CreateImage(self.staging, file, size, parent))

    @contextlib.asynccontextmanager
    async def served(
        self, image: str, *, writable: bool = True, ends: bool = True
    ) -> AsyncIterator["ServedImage"]:
        """Serve an image within the context; then, if ``ends``, the server is asked to end."""
        with tempfile.TemporaryDirectory(prefix="vl-") as directory:
            path = Path(directory, "socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
                listening.bind(str(path))
                listening.listen()
                request = rbd.ServeImage(self.staging, image, writable)
                serving, [pidfd] = await self.process.connection.ask_with(
                    rbd.SERVE_IMAGE, request, [listening.fileno()]
                )
            os.close(pidfd)
            server = ServedImage(self.process, serving.server, path)
            yield server
            if not ends:
                return
            await self.process.ask(rbd.END_SERVER, rbd.EndServer(serving.server, kill=False))
            ended = await server.wait()
            assert ended == Ended(0, ""), ended
            await self.process.ask(rbd.END_SERVER, rbd.EndServer(serving.server, kill=True))

    async def flush(self, file: str) -> None:
        """Finish an image."""
        await self.process.ask(rbd.FLUSH_IMAGE, rbd.StagedImage(self.staging, file))

    async def place(
        self, file: str, name: str, record: tuple[str, bytes] | None = None
    ) -> rbd.Placed:
        """Give a finished image its name."""
        request = rbd.PlaceImage(self.staging, file, name, None if record is None else record[0])
        if record is None:
            return await self.process.ask(rbd.PLACE_IMAGE, request)
        with sealed(record[1]) as content:
            return await self.process.ask(rbd.PLACE_IMAGE, request, [content])

    async def layer(self, digit: str, parent: str | None = None) -> rbd.Placed:
        """Make a layer with a block of bytes that says which one it is."""
        file = f"v{digit}"
        await self.create(file, parent)
        async with self.served(file) as server:
            await server.io(f"write -P 0x{digit} {int(digit, 16)}M 64k")
        await self.flush(file)
        return await self.place(file, layer_name(digit))

    async def end(self) -> None:
        """End the claim with its staging place."""
        await self.process.ask(rbd.RELEASE, rbd.Release(self.claim.claim))


@dataclass(frozen=True, slots=True)
class ServedImage:
    """An image that is served over NBD."""

    process: RbdProcess
    number: int
    path: Path

    async def io(self, *commands: str) -> None:
        """Execute commands of qemu-io(1) on it; a pattern that is not there is an error."""
        done = await self.try_io(*commands)
        assert done.returncode == 0, done.stdout
        assert "failed" not in done.stdout, done.stdout

    async def try_io(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Execute commands of qemu-io(1) on it."""
        options = [part for command in commands for part in ("-c", command)]
        return await asyncio.to_thread(_run, [*options, f"nbd+unix:///?socket={self.path}"])

    async def wait(self) -> Ended:
        """Wait for the end of the server."""
        return await self.process.ask(rbd.WAIT_SERVER, rbd.Serving(self.number))


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["qemu-io", "-f", "raw", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
