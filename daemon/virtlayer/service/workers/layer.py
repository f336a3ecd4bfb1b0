# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the layer worker, which writes ext4 into volumes.

A request has the fields of ``LayerRequest`` and carries the descriptors of the blob, of its
announcements, of the memory with its last bytes if its download shares that, and, with the first
layer of a volume, of the NBD connection.
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
    """The blob, which may still be arriving. The caller verifies it; if it is wrong or incomplete,
    the error and the volume must be ignored."""
    nbd: socket.socket | None
    """Connected to the server whose export is the volume; the caller closes it. None for the volume
    of the previous request, if that was not its last."""
    diff_id: str
    description: str
    """The layer, as named in an error message."""
    format_size: int | None
    """Bytes of the ext4 file system that is made first; None if there already is one."""
    base: str | None = None
    """A name for the content before the step: if the worker's last layer had it as its ``result``,
    the open file system is reused. None if there is no such name."""
    result: str | None = None
    """A name for the content after the step, such as a chain id; None if no layer will follow."""
    last: bool = True
    """Whether this is the last layer of the volume, which completes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLayer:
    """The worker's report about an applied layer."""

    entries: int
    disks: int
    """How many of them are disks of machines in /disk."""
    free_bytes: int
    """The free space of the file system."""
    has_identity: bool | None
    """Whether machines made from the volume would share an identity; None if it is not complete."""


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
            DigestMismatch: The archive does not match the diff id.
            NoSpace: The layer does not fit into the file system, or the file system into the pool.
            Internal: The worker ended or sent an invalid reply.
        """
        recent = request.blob.recent
        message = {
            "diff_id": request.diff_id,
            "format_size": request.format_size,
            "base": request.base,
            "result": request.result,
            "continues": request.nbd is None,
            "recent": recent is not None,
            "last": request.last,
            "limits": self.limits,
        }
        memory = [] if recent is None else [recent.descriptor]
        connection = [] if request.nbd is None else [request.nbd.fileno()]
        async with announced(request.blob) as announcements:
            descriptors = [request.blob.descriptor, announcements, *memory, *connection]
            done = await self.ask(message, descriptors, request.description, on_bytes)
        match done:
            case {
                "entries": int(entries),
                "disks": int(disks),
                "free_bytes": int(free_bytes),
                "identity": bool() | None as has_identity,
            }:
                return AppliedLayer(
                    entries=entries,
                    disks=disks,
                    free_bytes=free_bytes,
                    has_identity=has_identity,
                )
            case _:
                raise unexpected_reply(request.description)
