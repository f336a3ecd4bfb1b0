# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the layer worker, which writes ext4 into volumes.

A request has the fields of ``LayerRequest`` and carries the descriptors of the blob, of its
announcements and, with the first layer of a volume, of the NBD connection.
"""

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from virtlayer import errors
from virtlayer.protocol.programs import Kind
from virtlayer.service.blobs.announcement import announced
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import REBUILD_IT, Worker, unexpected_reply
from virtlayer.settings import LayerSettings

_ADVICE = {
    errors.NoSpace: "Pull it with a larger size, or free some space in the pool.",
    errors.MalformedLayer: REBUILD_IT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRequest:
    """One layer to be applied to the volume behind an NBD connection."""

    blob: GrowingBlob
    """May still be arriving. Whether it was the right one is for the caller to find out; where it
    is not, or does not arrive, both the error and the volume mean nothing."""
    nbd: socket.socket | None
    """Connected to the server whose export is the volume; stays the caller's to close. None for the
    volume of the request before, if that was not its last."""
    diff_id: str
    description: str
    """The layer as an error should call it."""
    format_size: int | None
    """Bytes of the ext4 that is made first; None where there is one."""
    base: str | None = None
    """A name for what the volume holds before: where the worker's last layer had that as its
    ``result``, it need not read the file system again. None if there is no such name."""
    result: str | None = None
    """A name for what the volume will hold, such as a chain id; None if no layer will follow."""
    last: bool = True
    """No further layer comes into the volume: it is completed. Until then it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLayer:
    """What the worker says of a layer that it has applied."""

    entries: int
    disks: int
    """How many of them are disks of machines in /disk."""
    free_bytes: int
    """What the file system has left."""


class LayerWorker(Worker):
    """A worker process that applies layers, one after the other."""

    @classmethod
    def started(
        cls, programs: Programs, settings: LayerSettings
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts."""
        return cls.running(programs, Kind.LAYER_WORKER, settings, _ADVICE)

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> AppliedLayer:
        """Apply a layer; when it was the last of a volume, that is complete and flushed.

        Args:
            request: The layer and the volume.
            on_bytes: Called with the number of bytes of the blob that were read since.

        Raises:
            MalformedLayer: The archive breaks its format.
            LayerTooLarge: The layer goes beyond a limit.
            DigestMismatch: The archive is not the one that the diff_id names.
            NoSpace: The layer does not fit into the file system, or that not into the pool.
            Internal: The worker ended, or said something that is invalid.
        """
        message = {
            "diff_id": request.diff_id,
            "format_size": request.format_size,
            "base": request.base,
            "result": request.result,
            "continues": request.nbd is None,
            "last": request.last,
            "limits": self.limits,
        }
        connection = [] if request.nbd is None else [request.nbd.fileno()]
        async with announced(request.blob) as announcements:
            descriptors = [request.blob.descriptor, announcements, *connection]
            done = await self.ask(message, descriptors, request.description, on_bytes)
        match done:
            case {"entries": int(entries), "disks": int(disks), "free_bytes": int(free_bytes)}:
                return AppliedLayer(entries=entries, disks=disks, free_bytes=free_bytes)
            case _:
                raise unexpected_reply(request.description)
