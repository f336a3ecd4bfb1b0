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
# What a compromised worker may make us raise.
_ERRORS: dict[str, type[errors.VirtlayerError]] = {
    kind.__name__: kind
    for kind in (
        errors.MalformedLayer,
        errors.LayerTooLarge,
        errors.DigestMismatch,
        errors.NoSpace,
        errors.InvalidArgument,
        errors.Internal,
    )
}

type Advice = Mapping[type[errors.VirtlayerError], str]
"""What a user can do about an error: a sentence."""

REBUILD_IT = "Rebuild the image."


class Worker:
    """A running process, and our end of its socket; those who know what to ask derive from it.

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
        """How much a layer may ask for, as a request has it."""
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
        cls, programs: Programs, kind: Kind, settings: LayerSettings, advice: Advice
    ) -> AsyncIterator[Self]:
        """Run a process for as long as the context lasts.

        Args:
            programs: What runs it.
            kind: Which.
            settings: The limits of its memory and processor time, and those of a layer.
            advice: Sentences to end the messages of errors with.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            request = StartProgram(
                kind=kind, memory=settings.memory_limit, cpu_seconds=settings.cpu_limit
            )
            async with programs.running(request, [theirs.fileno()]) as program:
                theirs.close()
                yield cls(program, ours, settings, advice)

    async def ask(
        self,
        message: dict[str, Any],
        descriptors: Sequence[int],
        subject: str,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> Any:
        """Send a request, and wait until the worker says that it is done.

        Args:
            message: The request.
            descriptors: What it is about; they stay the caller's.
            subject: What it is about, at the beginning of an error's sentence.
            on_bytes: Called with the number of bytes of a blob that were read since.

        Returns:
            What it says then.

        Raises:
            VirtlayerError: What it says instead; Internal if it says nothing, or nothing sensible.
        """
        async with self._turn:
            try:
                socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
                return await self._answer(subject, on_bytes)
            except OSError as error:
                raise await self._crash(subject) from error
            except asyncio.CancelledError:
                # The answer that is still to come would be taken for the next request's.
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
        # A traceback is for the journal: it may hold what the layer says, and helps no caller.
        _log.error("The layer worker stopped while processing %s: %s", subject, failure)
        return errors.Internal(
            f"The layer worker stopped while processing {subject}: it {failure.ending}. See the "
            "journal for details."
        )


def unexpected_reply(subject: str) -> errors.Internal:
    """What to raise about an answer that is invalid."""
    return errors.Internal(f"Unexpected reply of the layer worker for {subject}.")


def _parsed(packet: bytes) -> Any:
    try:
        return json.loads(packet)
    except (ValueError, RecursionError):
        return None
