# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the worker that finds the disk in an image's layers.

A request has a layer's diff id and carries the blob's descriptor; the diff id is null if the blob
is the disk. A request without a descriptor asks for the result of all of them.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from virtlayer import errors
from virtlayer.protocol.programs import Kind
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import REBUILD_IT, Worker, unexpected_reply
from virtlayer.settings import LayerSettings

_ADVICE = {
    errors.NoSpace: "Free some space in the pool.",
    errors.MalformedLayer: REBUILD_IT,
    errors.InvalidArgument: 'To use its file system, pull it without the option "format=disk".',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDisk:
    """The disk of an image.

    Attributes:
        name: Its name in /disk; "" for an artifact.
        size: The size of the file in bytes.
    """

    name: str
    size: int


class DiskWorker(Worker):
    """A worker process that searches the layers of one image, from the top one down."""

    @classmethod
    def started(
        cls, staging: Programs, settings: LayerSettings
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts.

        Args:
            staging: The staging directory in which it writes the disk.
            settings: The limits.
        """
        return cls.running(staging, Kind.DISK_WORKER, settings, _ADVICE)

    async def search(
        self, blob: int, diff_id: str, description: str, on_bytes: Callable[[int], None]
    ) -> None:
        """Search a layer, which is the one below the layer of the previous call.

        Args:
            blob: A descriptor of the verified blob, at its beginning; stays the caller's.
            diff_id: What it unpacks to.
            description: The layer as an error should call it.
            on_bytes: Called with the number of bytes of the blob that were read since.

        Raises:
            MalformedLayer: The archive breaks its format, or the disk in it is a link.
            LayerTooLarge: The layer goes beyond a limit.
            DigestMismatch: The archive does not match the diff id.
            NoSpace: The pool is full.
            Internal: The worker ended.
        """
        message = {"diff_id": diff_id, "limits": self.limits}
        await self.ask(message, [blob], description, on_bytes)

    async def copy_whole(
        self, blob: int, description: str, on_bytes: Callable[[int], None]
    ) -> None:
        """Copy a disk that is the whole content of a blob, possibly compressed.

        Args:
            blob: A descriptor of the verified blob, at its beginning; stays the caller's.
            description: The blob as an error should call it.
            on_bytes: Called with the number of bytes of the blob that were read since.

        Raises:
            MalformedLayer: It is not a disk image, or is compressed in an unsupported way.
            LayerTooLarge: It is larger than a layer may be.
            NoSpace: The pool is full.
            Internal: The worker ended.
        """
        await self.ask({"diff_id": None, "limits": self.limits}, [blob], description, on_bytes)

    async def found(self, description: str) -> FoundDisk:
        """Return the disk that was found.

        Args:
            description: The image as an error should call it, at the beginning of a sentence.

        Raises:
            InvalidArgument: There was none, or more than one.
            Internal: The worker ended or sent an invalid reply.
        """
        match await self.ask({}, [], description):
            case {"name": str(name), "size": int(size)}:
                return FoundDisk(name=name, size=size)
            case _:
                raise unexpected_reply(description)
