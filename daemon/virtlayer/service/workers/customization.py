# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the worker that customizes volumes.

A request has a ``customization`` and carries the descriptor of the NBD connection.
"""

import socket
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from virtlayer import errors
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.programs import Kind
from virtlayer.service.keeper.programs import Programs
from virtlayer.service.workers.conversation import Advice, Worker, unexpected_reply
from virtlayer.settings import LayerSettings

_ADVICE: Advice = {errors.NoSpace: "Pull it with a larger size, or free some space in the pool."}


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomizationRequest:
    """Changes to the volume behind an NBD connection."""

    nbd: socket.socket
    """Connected to the server whose export is the volume; the caller closes it."""
    customization: Customization
    description: str
    """The image, as named at the beginning of an error message."""


class CustomizationWorker(Worker):
    """A worker process that customizes volumes, one after the other."""

    @classmethod
    def started(
        cls, programs: Programs, settings: LayerSettings, *, fresh_identity: bool = False
    ) -> AbstractAsyncContextManager[Self]:
        """Run a worker for as long as the context lasts.

        Args:
            programs: Runs it.
            settings: The limits.
            fresh_identity: Whether it can replace the identity of an image, which takes longer to
                start.
        """
        kind = Kind.IDENTITY_CUSTOMIZER if fresh_identity else Kind.CUSTOMIZER
        return cls.running(programs, kind, settings, _ADVICE)

    async def customize(self, request: CustomizationRequest) -> bool:
        """Customize a volume; when this returns, it is complete and flushed.

        Returns:
            Whether an identity of the image was replaced.

        Raises:
            InvalidArgument: The image does not allow these changes.
            NoSpace: The file system or the pool is full.
            Internal: The worker ended or sent an invalid reply.
        """
        message = {"customization": request.customization.message()}
        match await self.ask(message, [request.nbd.fileno()], request.description):
            case {"identity_replaced": bool(replaced)}:
                return replaced
            case _:
                raise unexpected_reply(request.description)
