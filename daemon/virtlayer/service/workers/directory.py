# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the workers that write a directory.

A request to the one that applies layers has the fields of ``DirectoryLayer`` and carries the blob's
descriptor; a request without a descriptor means that no layer follows. The worker that customizes
gets one request, with a ``customization``.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from virtlayer import errors
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.programs import Kind
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import REBUILD_IT, Worker, unexpected_reply
from virtlayer.settings import LayerSettings

_ADVICE = {
    errors.NoSpace: "Free some space in the pool.",
    errors.MalformedLayer: REBUILD_IT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryLayer:
    """One layer to be applied to a directory."""

    blob: int
    """A descriptor of the verified blob, at offset 0; the caller closes it."""
    diff_id: str
    description: str
    """The layer, as named in an error message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedDirectory:
    """The worker's report about a finished directory."""

    squashed: bool
    """Whether everything belongs to the daemon's user, and setuid bits are dropped."""
    skipped_devices: int
    """Devices that could not be made."""
    skipped_attributes: int
    """Extended attributes that could not be set."""


class DirectoryWorker(Worker):
    """A worker process that applies the layers of one image to one directory."""

    @classmethod
    def started(
        cls, staging: Programs, settings: LayerSettings
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts.

        Args:
            staging: The staging directory with the directory that it writes.
            settings: The limits.
        """
        return cls.running(staging, Kind.DIRECTORY_WORKER, settings, _ADVICE)

    async def apply(self, layer: DirectoryLayer, on_bytes: Callable[[int], None]) -> int:
        """Apply a layer, on top of the previous ones.

        Args:
            layer: The layer.
            on_bytes: Called with the number of bytes of the blob that were read since.

        Returns:
            The number of its entries.

        Raises:
            MalformedLayer: The archive breaks its format.
            LayerTooLarge: The layer goes beyond a limit, also of the pool's file system.
            DigestMismatch: The archive does not match the diff id.
            NoSpace: The pool is full.
            Internal: The worker ended, or said something that is invalid.
        """
        message = {"diff_id": layer.diff_id, "limits": self.limits}
        done = await self.ask(message, [layer.blob], layer.description, on_bytes)
        match done:
            case {"entries": int(entries)}:
                return entries
            case _:
                raise unexpected_reply(layer.description)

    async def finish(self, description: str) -> FinishedDirectory:
        """Give the directories their permissions and times; nothing can be applied afterwards.

        Args:
            description: The image, for errors.

        Raises:
            NoSpace: The pool is full.
            Internal: The worker ended, or said something that is invalid.
        """
        match await self.ask({}, [], description):
            case {
                "squashed": bool(squashed),
                "skipped_devices": int(devices),
                "skipped_attributes": int(attributes),
            }:
                return FinishedDirectory(
                    squashed=squashed, skipped_devices=devices, skipped_attributes=attributes
                )
            case _:
                raise unexpected_reply(description)


async def customize_directory(
    staging: Programs, settings: LayerSettings, customization: Customization, description: str
) -> int:
    """Customize a directory after its last layer.

    Args:
        staging: The staging directory that has it.
        settings: The limits.
        customization: The changes; a file system cannot grow here.
        description: The image, as named at the beginning of an error message.

    Returns:
        The number of devices that were removed, because a container must not have them.

    Raises:
        InvalidArgument: The image does not allow these changes.
        NoSpace: The pool is full.
        Internal: The worker ended.
    """
    starting = Worker.running(staging, Kind.DIRECTORY_CUSTOMIZER, settings, _ADVICE)
    async with starting as worker:
        match await worker.ask({"customization": customization.message()}, [], description):
            case {"skipped_devices": int(devices)}:
                return devices
            case _:
                raise unexpected_reply(description)
