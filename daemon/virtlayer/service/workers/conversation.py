# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of a sandboxed process that reads layers.

Messages are JSON over a SOCK_SEQPACKET socket, one a packet, requests with the descriptors that
they are about. Replies are any number of ``{"consumed": bytes}`` and at last ``{"done": {...}}`` or
``{"error": name, "problem": text}``. One request is answered after the other.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Self

from virtlayer import errors
from virtlayer.protocol.layer_limits import LayerLimits
from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.service.keeper.programs import Program, Programs
from virtlayer.settings import LayerSettings

_log = logging.getLogger(__name__)

_MESSAGE_LIMIT = 128 * 1024
# The errors that a worker, even a compromised one, can cause.
_ERRORS: dict[str, type[errors.VirtlayerError]] = {
    kind.__name__: kind
    for kind in (
        errors.MalformedLayer,
        errors.LayerTooLarge,
        errors.DigestMismatch,
        errors.NoSpace,
        errors.InvalidArgument,
        errors.NoKernel,
        errors.Internal,
    )
}

type Advice = Mapping[type[errors.VirtlayerError], str]
"""Return the advice for an error: a sentence."""

REBUILD_IT = "Rebuild the image."


class Worker:
    """A running process, and our end of its socket; the base class of the workers.

    Args:
        program: The process.
        control: The socket.
        settings: The limits of a layer.
        advice: Sentences to end the messages of errors with.
    """

    def __init__(
        self,
        program: Program,
        control: socket.socket,
        settings: LayerSettings,
        advice: Advice,
    ) -> None:
        self._program = program
        self._control = control
        self._settings = settings
        self._advice = advice
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process."""
        return self._program.pid

    @property
    def limits(self) -> dict[str, int]:
        """The limits of a layer, as a request contains them."""
        settings = self._settings
        limits = LayerLimits(
            bytes=settings.bytes_limit,
            entries=settings.entries_limit,
            path=settings.path_limit,
            header=settings.header_limit,
            segments=settings.segments_limit,
        )
        return limits._asdict()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        programs: Programs,
        kind: Kind,
        settings: LayerSettings,
        advice: Advice,
        descriptors: Sequence[int] = (),
    ) -> AsyncIterator[Self]:
        """Run a process for as long as the context lasts.

        Args:
            programs: Runs it.
            kind: The kind of the worker.
            settings: The limits of its memory and processor time, and the limits of a layer.
            advice: Sentences to end the messages of errors with.
            descriptors: What it gets in addition to its control socket; they stay the caller's.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            request = StartProgram(
                kind=kind, memory=settings.memory_limit, cpu_seconds=settings.cpu_limit
            )
            async with programs.running(request, [theirs.fileno(), *descriptors]) as program:
                theirs.close()
                yield cls(program, ours, settings, advice)

    async def ask(
        self,
        message: dict[str, Any],
        descriptors: Sequence[int],
        subject: str,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> Any:
        """Send a request, and wait until the worker reports that it is done.

        Args:
            message: The request.
            descriptors: The descriptors of the request; the caller closes them.
            subject: The subject of the request, for the beginning of an error message.
            on_bytes: Called with the number of bytes of a blob that were read since.

        Returns:
            The final reply.

        Raises:
            VirtlayerError: The worker reports an error; Internal if it sends no valid reply.
        """
        async with self._turn:
            try:
                socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
                return await self._answer(subject, on_bytes)
            except OSError as error:
                raise await self._crash(subject) from error
            except asyncio.CancelledError:
                # The pending reply would be read as the reply to the next request.
                await asyncio.shield(self._program.kill())
                raise

    async def _answer(self, subject: str, on_bytes: Callable[[int], None]) -> Any:
        loop = asyncio.get_running_loop()
        consumed = 0
        while packet := await loop.sock_recv(self._control, _MESSAGE_LIMIT):
            match _parsed(packet):
                case {"consumed": int(now)} if now >= consumed:
                    on_bytes(now - consumed)
                    consumed = now
                case {"done": done}:
                    return done
                case {"error": str(name), "problem": str(problem)}:
                    kind = _ERRORS.get(name, errors.Internal)
                    advice = self._advice.get(kind, "")
                    raise kind(f"{subject} {problem}. {advice}".rstrip())
                case _:
                    raise unexpected_reply(subject)
        raise await self._crash(subject)

    async def _crash(self, subject: str) -> errors.Internal:
        await self._program.kill()
        # If its keeper has ended, that is the reason.
        await self._program.wait()
        failure = self._program.failure()
        # A traceback belongs in the journal: it may contain data of the layer, and does not help
        # callers.
        _log.error("The layer worker stopped while processing %s: %s", subject, failure)
        return errors.Internal(
            f"The layer worker stopped while processing {subject}: it {failure.ending}. See the "
            "journal for details."
        )


def unexpected_reply(subject: str) -> errors.Internal:
    """Return the error for an invalid reply."""
    return errors.Internal(f"Unexpected reply of the layer worker for {subject}.")


def _parsed(packet: bytes) -> Any:
    try:
        return json.loads(packet)
    except (ValueError, RecursionError):
        return None
