# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the layer worker.

Messages are JSON over a SOCK_SEQPACKET socket, one a packet. A request has the fields of
``LayerRequest`` and carries the blob's and the NBD connection's descriptors, or it has a
``customization`` and carries the connection's. Replies are any number of ``{"consumed": bytes}``
and at last ``{"done": {...}}`` or ``{"error": name, "problem": text}``.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from virtlayer import errors, programs
from virtlayer.config import LayerSettings
from virtlayer.layer.customize.customization import Customization
from virtlayer.layer.limits import LayerLimits

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRequest:
    """One layer to be applied to the volume behind an NBD connection."""

    blob: int
    """A descriptor of the verified blob, at its beginning; stays the caller's."""
    nbd: socket.socket
    """Connected to the server whose export is the volume; stays the caller's to close."""
    media_type: str
    diff_id: str
    description: str
    """The layer as an error should call it."""
    format_size: int | None
    """Bytes of the ext4 that is made first; None where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLayer:
    """What the worker says of a layer that it has applied."""

    entries: int
    free_bytes: int
    """What the file system has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomizationRequest:
    """Changes to the volume behind an NBD connection."""

    nbd: socket.socket
    """Connected to the server whose export is the volume; stays the caller's to close."""
    customization: Customization
    description: str
    """The image as an error should call it, at the beginning of a sentence."""


class LayerWorker:
    """A worker process that applies layers, one after the other.

    Args:
        program: The process.
        control: Our end of its socket.
        settings: The limits of a layer.
    """

    def __init__(
        self, program: programs.RunningProgram, control: socket.socket, settings: LayerSettings
    ) -> None:
        self._program = program
        self._control = control
        self._settings = settings
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process."""
        return self._program.pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, settings: LayerSettings) -> AsyncIterator[Self]:
        """Run a worker for as long as the context lasts."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            limits = (str(settings.memory_limit), str(settings.cpu_limit))
            argv = [sys.executable, "-I", "-m", "virtlayer.layer.worker", *limits]
            async with programs.running(argv, stdin=theirs.fileno(), bare=True) as program:
                theirs.close()
                yield cls(program, ours, settings)

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> AppliedLayer:
        """Apply a layer; when this returns, the volume is complete and flushed.

        Args:
            request: The layer and the volume.
            on_bytes: Called with the number of bytes of the blob that were read since.

        Raises:
            MalformedLayer: The archive breaks its format.
            LayerTooLarge: The layer goes beyond a limit.
            DigestMismatch: The archive is not the one that the diff_id names.
            NoSpace: The layer does not fit into the file system, or that not into the pool.
            Internal: The worker ended, or said something that makes no sense.
        """
        message = {
            "media_type": request.media_type,
            "diff_id": request.diff_id,
            "format_size": request.format_size,
            "limits": dataclasses.asdict(_limits_of(self._settings)),
        }
        descriptors = [request.blob, request.nbd.fileno()]
        done = await self._ask(message, descriptors, request.description, on_bytes)
        match done:
            case {"entries": int(entries), "free_bytes": int(free_bytes)}:
                return AppliedLayer(entries=entries, free_bytes=free_bytes)
            case _:
                raise _senseless(request.description)

    async def customize(self, request: CustomizationRequest) -> None:
        """Change what is in a volume; when this returns, it is complete and flushed.

        Raises:
            InvalidArgument: The image is not such that it could be changed like this.
            NoSpace: The file system, or the pool, has no room left.
            Internal: The worker ended, or said something that makes no sense.
        """
        message = {"customization": request.customization.message()}
        descriptors = [request.nbd.fileno()]
        await self._ask(message, descriptors, request.description, lambda _: None)

    async def _ask(
        self,
        message: dict[str, Any],
        descriptors: list[int],
        subject: str,
        on_bytes: Callable[[int], None],
    ) -> Any:
        """Send a request, and wait until the worker says that it is done."""
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
                    raise kind(f"{subject} {problem}.{_advice(kind)}")
                case _:
                    raise _senseless(subject)
        raise await self._crash(subject)

    async def _crash(self, subject: str) -> errors.Internal:
        await self._program.kill()
        failure = self._program.failure()
        # A traceback is for the journal: it may hold what the layer says, and helps no caller.
        _log.error("The layer worker ended while it worked on %s: %s", subject, failure)
        return errors.Internal(
            f"The layer worker ended while it worked on {subject}: it {failure.ending}. "
            "The journal has the details."
        )


def _senseless(subject: str) -> errors.Internal:
    return errors.Internal(f"The layer worker sent something senseless about {subject}.")


def _limits_of(settings: LayerSettings) -> LayerLimits:
    return LayerLimits(
        bytes=settings.bytes_limit,
        entries=settings.entries_limit,
        path=settings.path_limit,
        header=settings.header_limit,
        segments=settings.segments_limit,
    )


def _parsed(packet: bytes) -> Any:
    try:
        return json.loads(packet)
    except ValueError:
        return None


def _advice(kind: type[errors.VirtlayerError]) -> str:
    if kind is errors.NoSpace:
        return " Pull it with a larger size, or make room in the pool."
    if kind is errors.MalformedLayer:
        return " Whoever built the image has to mend it."
    return ""
