# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper's end of the worker that reads headers of image files."""

import asyncio
import contextlib
import itertools
import socket
import sys
from collections.abc import AsyncIterator, Sequence

from virtlayer import programs
from virtlayer.keeper.users import worker_identity
from virtlayer.protocol.image_headers import BATCH, PACKET_LIMIT, ImageHeader, parse_packet
from virtlayer.sizes import MIB

_MODULE = "virtlayer.worker.headers.worker"
_MEMORY, _CPU_SECONDS = 512 * MIB, 60
_SECONDS = 30.0
"""What reading the headers of one batch may take: some file systems stop answering."""


class HeadersUnreadable(Exception):
    """The worker ended, or did not answer in time."""


class HeaderReader:
    """Reads headers in a sandboxed process, which is started when there is something to read."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._control: socket.socket | None = None

    async def read(self, files: Sequence[int]) -> list[ImageHeader]:
        """Read the headers of files.

        Args:
            files: Descriptors; they stay the caller's.

        Raises:
            HeadersUnreadable: The worker ended, or did not answer in time.
        """
        headers: list[ImageHeader] = []
        try:
            async with asyncio.timeout(_SECONDS):
                for batch in itertools.batched(files, BATCH):
                    headers += await self._read(batch)
        except TimeoutError as error:
            raise HeadersUnreadable(f"it took longer than {_SECONDS:.0f} s") from error
        except (OSError, ValueError) as error:
            raise HeadersUnreadable("the process that reads image headers ended") from error
        return headers

    async def _read(self, files: Sequence[int]) -> list[ImageHeader]:
        if self._control is None:
            self._control = await self._stack.enter_async_context(_worker())
        loop = asyncio.get_running_loop()
        socket.send_fds(self._control, [b"?"], files)
        # An empty packet says that the worker has ended; it is not a valid answer.
        return [parse_packet(await loop.sock_recv(self._control, PACKET_LIMIT)) for _ in files]

    async def close(self) -> None:
        """End the process."""
        self._control = None
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def header_reader() -> AsyncIterator[HeaderReader]:
    """Provide a reader whose process ends with the context."""
    reader = HeaderReader()
    try:
        yield reader
    finally:
        await reader.close()


@contextlib.asynccontextmanager
async def _worker() -> AsyncIterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        argv = [sys.executable, "-I", "-m", _MODULE, str(_MEMORY), str(_CPU_SECONDS)]
        async with programs.running(
            argv, stdin=theirs.fileno(), bare=True, identity=worker_identity()
        ):
            theirs.close()
            yield ours
