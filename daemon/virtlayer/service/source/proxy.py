# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client for the protocol of ``skopeo experimental-image-proxy``.

Requests and replies are JSON, one SOCK_SEQPACKET packet each; content is sent through a pipe
whose reading end is passed with the reply (SCM_RIGHTS). The proxy serves one request at a time. It
closes the writing end of a pipe only while it serves ``FinishPipe``, which waits until all data is
written. So ``FinishPipe`` is sent while the pipe is read, and a proxy streams one blob at a time.
This also reports at once that a registry has ended a transfer early.

The protocol is described in skopeo's cmd/skopeo/proxy.go; this client needs version 0.2.6, the
first that checks policy.json.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from virtlayer.cancellation import meanwhile
from virtlayer.errors import Internal
from virtlayer.programs import RunningProgram, running
from virtlayer.service.readiness import readable
from virtlayer.service.source.skopeo_pipe import SkopeoPipe
from virtlayer.sizes import KIB

OLDEST_PROTOCOL = (0, 2, 6)
_PACKET_LIMIT = 256 * KIB
_DESCRIPTORS_LIMIT = 8
_GARBAGE_PERCENT = "400"
"""How far the heap of skopeo's Go runtime may grow before it is collected (GOGC). With the default
of 100 it is collected at 4 MiB, while skopeo starts: a sixth of the processor time of a proxy that
reads one manifest. With 400, it is first collected at 16 MiB."""


class ProxyFailed(Exception):
    """The proxy refused a request, or ended; the text is skopeo's."""


class Proxy:
    """One running proxy, initialized. It opens one image at most.

    Requests from several tasks are served one after the other.
    """

    def __init__(self, connection: socket.socket, program: RunningProgram) -> None:
        self._connection = connection
        self._program = program
        self._image: object = None
        self._turn = asyncio.Lock()
        self._out_of_step = False

    def bytes_moved(self) -> int:
        """How many bytes the proxy has read and written so far."""
        return self._program.bytes_moved()

    @property
    def usable(self) -> bool:
        """Whether requests and replies still match; False after a request was abandoned."""
        return not self._out_of_step

    async def initialize(self) -> object:
        """Initialize the proxy, and return the version of the protocol.

        Raises:
            ProxyFailed: The proxy does not start.
        """
        return await self._value("Initialize")

    async def open_image(self, name: str) -> None:
        """Open the image for all further requests.

        Args:
            name: A reference, as skopeo writes it.

        Raises:
            ProxyFailed: It cannot be opened, or the proxy has ended.
        """
        self._image = await self._value("OpenImage", name)

    async def manifest(self, limit: int) -> tuple[object, bytes]:
        """Return the digest of the manifest and the manifest.

        Args:
            limit: The most bytes. A longer manifest is cut off after one more byte, so that the
                caller can detect it.

        Raises:
            ProxyFailed: It cannot be read, or the proxy has ended.
        """
        return await self._content("GetManifest", self._image, limit=limit)

    async def small_blob(self, digest: str, size: int) -> bytes:
        """Return a blob that fits into memory; a longer one is cut off after one more byte.

        Raises:
            ProxyFailed: It cannot be read, or the proxy has ended.
        """
        _, content = await self._content("GetBlob", self._image, digest, size, limit=size)
        return content

    async def blob(self, digest: str, size: int) -> SkopeoPipe:
        """Return a pipe that delivers a blob.

        Args:
            digest: The digest of the blob, which the proxy verifies.
            size: The size of the blob in bytes.

        Raises:
            ProxyFailed: The registry does not have it, or the proxy has ended.
        """
        _, pipe = await self._pipe("GetBlob", self._image, digest, size)
        return pipe

    async def finish(self, pipe: SkopeoPipe) -> None:
        """Wait until all data is written to a pipe, which must be read meanwhile.

        Raises:
            ProxyFailed: The data is incomplete, or does not match the digest.
        """
        await self._value("FinishPipe", pipe.number)

    async def _value(self, method: str, *arguments: object) -> object:
        with await self._asked(method, arguments) as reply:
            if reply.descriptors:
                raise ProxyFailed(f"unexpected descriptor in the reply to {method}")
            return reply.value

    async def _pipe(self, method: str, *arguments: object) -> tuple[object, SkopeoPipe]:
        with await self._asked(method, arguments) as reply:
            if len(reply.descriptors) != 1 or not _is_pipe(reply.descriptors[0]):
                raise ProxyFailed(f"no pipe in the reply to {method}")
            return reply.value, SkopeoPipe(reply.descriptors.pop(), reply.pipe_number)

    async def _content(self, method: str, *arguments: object, limit: int) -> tuple[object, bytes]:
        value, pipe = await self._pipe(method, *arguments)
        with pipe:
            async with meanwhile(self.finish(pipe)) as finishing:
                content = bytearray()
                while len(content) <= limit:
                    chunk = await pipe.read(limit + 1 - len(content))
                    if not chunk:
                        await finishing
                        return value, bytes(content)
                    content += chunk
                pipe.close()
                with contextlib.suppress(ProxyFailed):
                    await finishing
                return value, bytes(content)

    async def _asked(self, method: str, arguments: Sequence[object]) -> "_Reply":
        async with self._turn:
            if self._out_of_step:
                raise ProxyFailed("an earlier request was abandoned")
            # After a cancellation before the reply, the next request would receive that reply.
            self._out_of_step = True
            packet, descriptors = await self._exchange(
                json.dumps({"method": method, "args": arguments}).encode()
            )
            self._out_of_step = False
        return _parsed(packet, descriptors)

    async def _exchange(self, packet: bytes) -> tuple[bytes, list[int]]:
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, packet)
            answer, descriptors = await self._receive()
        except ConnectionError:
            answer, descriptors = b"", []
        if not answer:
            _close_all(descriptors)
            await self._program.wait()
            raise ProxyFailed(self._program.stderr_tail or "skopeo's proxy ended")
        return answer, descriptors

    async def _receive(self) -> tuple[bytes, list[int]]:
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(
                    self._connection,
                    _PACKET_LIMIT,
                    _DESCRIPTORS_LIMIT,
                    socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                await readable(self._connection.fileno())
            else:
                return packet, descriptors


@contextlib.asynccontextmanager
async def started_proxy(
    global_flags: Sequence[str],
    source_flags: Sequence[str],
    *,
    launcher: Sequence[str | Path] = (),
    temporary: Path | None = None,
) -> AsyncIterator[Proxy]:
    """Run a proxy for as long as the context lasts.

    Args:
        global_flags: Flags of skopeo itself, such as ``--override-arch=…``.
        source_flags: Flags of the command, such as ``--authfile=…``.
        launcher: The command that runs it; see ``running``.
        temporary: A directory for temporary files.

    Raises:
        Internal: skopeo is not installed, or its proxy speaks another version of the protocol.
        ProxyFailed: The proxy does not start with these flags.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        command = ["skopeo", *global_flags, "experimental-image-proxy"]
        command += [f"--sockfd={theirs.fileno()}", *source_flags]
        descriptors = [theirs.fileno()]
        env = {"GOGC": _GARBAGE_PERCENT}
        if temporary is not None:
            env["TMPDIR"] = str(temporary)
        async with running(command, pass_fds=descriptors, env=env, launcher=launcher) as program:
            theirs.close()
            proxy = Proxy(ours, program)
            try:
                version = await proxy.initialize()
            except ProxyFailed as error:
                raise _explained(error, program) from error
            check_protocol(version)
            yield proxy


def check_protocol(version: object) -> None:
    """Accept the protocol versions that are compatible with the one this client is for.

    As in Semantic Versioning, a minor version of 0.x may break everything.

    Raises:
        Internal: The version is not compatible.
    """
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?", str(version))
    numbers = tuple(map(int, match.groups())) if match else ()
    if numbers[:2] != OLDEST_PROTOCOL[:2] or numbers < OLDEST_PROTOCOL:
        oldest = ".".join(map(str, OLDEST_PROTOCOL))
        raise Internal(
            f"The image proxy of skopeo has protocol {version}; virtlayer requires {oldest} or a "
            "later 0.2 version. Install skopeo 1.17 or later."
        )


@dataclass(slots=True)
class _Reply:
    """A reply; the context closes its descriptors that were not taken."""

    value: object
    pipe_number: int
    descriptors: list[int]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _close_all(self.descriptors)


def _parsed(packet: bytes, descriptors: list[int]) -> _Reply:
    """Parse an untrusted reply; its descriptors are closed even if it is invalid.

    Raises:
        ProxyFailed: The request was refused, or the reply is invalid.
    """
    try:
        table = json.loads(packet)
        if table["success"] is not True:
            raise ProxyFailed(str(table["error"]))
        return _Reply(table["value"], int(table["pipeid"]), descriptors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        _close_all(descriptors)
        raise ProxyFailed("the proxy sent an invalid reply") from error
    except ProxyFailed:
        _close_all(descriptors)
        raise


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _explained(error: ProxyFailed, program: RunningProgram) -> Exception:
    if program.returncode in {126, 127}:
        return Internal(f"Cannot run skopeo ({error}). Please install it.")
    return error
