# SPDX-License-Identifier: LGPL-2.1-or-later
"""Determines the diff id of a blob, without relying on a sandboxed process.

A sandboxed process decompresses the blob, because the blob is not trusted. Its output is hashed
here. A blob that compromises the process can choose the bytes, but not their digest.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Self

from virtlayer import errors
from virtlayer.protocol.programs import Kind
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import REBUILD_IT, Advice, Worker
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB

_ADVICE: Advice = {errors.MalformedLayer: REBUILD_IT}
_PATIENCE = 120.0
"""Seconds without a byte after which the process is killed."""


class UnpackingWorker(Worker):
    """A worker process that decompresses blobs."""

    @classmethod
    def started(
        cls, programs: Programs, settings: LayerSettings
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts."""
        return cls.running(programs, Kind.UNPACKER, settings, _ADVICE)

    async def digest(
        self, blob: int, algorithm: str, description: str, *, patience: float = _PATIENCE
    ) -> str:
        """Return the digest of the decompressed blob.

        Args:
            blob: A descriptor of the verified blob, at offset 0; the caller closes it.
            algorithm: The algorithm of the digest: ``sha256`` or ``sha512``.
            description: The blob, as named in an error message.
            patience: Seconds without a byte after which the process is killed.

        Raises:
            MalformedLayer: The compressed bytes are damaged.
            LayerTooLarge: More bytes come out than the settings allow.
            Internal: The process ended, or makes no progress.
        """
        hashing = hashlib.new(algorithm)
        try:
            async with (
                asyncio.timeout(patience) as deadline,
                _pipe() as (reader, writer),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._hash(reader, hashing, deadline, patience, description))
                await self.ask({}, [blob, writer.fileno()], description)
                # The process has closed its own end: now the reader gets the end of file.
                writer.close()
        except TimeoutError:
            raise errors.Internal(
                f"The process that decompresses {description} gave no data for {patience:.0f} s."
            ) from None
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return f"{algorithm}:{hashing.hexdigest()}"

    async def _hash(
        self,
        reader: asyncio.StreamReader,
        hashing: "hashlib._Hash",
        deadline: asyncio.Timeout,
        patience: float,
        description: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        length = 0
        while piece := await reader.read(MIB):
            deadline.reschedule(loop.time() + patience)
            length += len(piece)
            if length > self.limits["bytes"]:
                raise errors.LayerTooLarge(
                    f"{description} unpacks to more bytes than layer.bytes-limit in "
                    "virtlayerd.toml allows."
                )
            await asyncio.to_thread(hashing.update, piece)


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """A pipe: the reader of its content, and its writing end."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with (
        os.fdopen(writing, "wb", buffering=0) as writer,
        os.fdopen(reading, "rb", buffering=0) as end,
    ):
        reader = asyncio.StreamReader(MIB)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), end
        )
        try:
            yield reader, writer
        finally:
            transport.close()
            # The transport closes its descriptor with the next turn of the loop.
            await asyncio.sleep(0)
