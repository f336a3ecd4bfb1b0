# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry that fails on purpose, for what a real one cannot be brought to do.

::

    async with FaultyRegistry() as registry:
        source = registry.store(image([...]), "demo:1")
        registry.faults[digest] = Fault.DIE_HALF_WAY

    with faulty_registry() as (registry, release):     # in a test without an event loop
        ...
"""

import asyncio
import contextlib
import enum
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.support.images import Content
from tests.support.waiting import PATIENCE, until


class Fault(enum.Enum):
    """The faults of a request for a blob or manifest."""

    DIE_HALF_WAY = "half of the bytes, then the connection is reset"
    HANG_HALF_WAY = "half of the bytes, then nothing more"
    HANG = "no answer at all, or not before the release"
    WRONG_BYTES = "as many bytes, but others"
    TOO_LONG = "the bytes and more, without a length"
    SERVER_ERROR = "status 500"


class FaultyRegistry:
    """``async with FaultyRegistry() as registry:`` — HTTP on a loopback port, until the end.

    ``faults`` maps a digest (or a tag, for a manifest) to what goes wrong; ``requested`` lists the
    paths that were asked for, in order.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.requested: list[str] = []
        self._answers: dict[str, tuple[str, bytes]] = {}
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._closing = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Answer what hangs without an answer."""
        self._released.set()
        self._released = asyncio.Event()

    async def asked_for(self, name: str) -> None:
        """Wait until a path that ends with this name was asked for."""
        await until(lambda: any(path.endswith(name) for path in self.requested))

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._closing.set()
        self.release()
        self._server.close()
        # Server.close_clients() is new in Python 3.13.
        for client in self._clients:
            client.close()
        await self._server.wait_closed()

    def store(self, content: Content, name: str) -> str:
        """Serve content under ``repository:tag``; return its docker:// reference."""
        repository, _, tag = name.rpartition(":")
        for digest, blob in content.blobs.items():
            self._answers[f"/v2/{repository}/blobs/{digest}"] = ("application/octet-stream", blob)
        for digest, (media_type, body) in content.manifests.items():
            self._answers[f"/v2/{repository}/manifests/{digest}"] = (media_type, body)
        for key in (content.digest, tag):
            self._answers[f"/v2/{repository}/manifests/{key}"] = (
                content.media_type,
                content.manifest,
            )
        return f"docker://{self.host}/{name}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                if not line.endswith(b"HTTP/1.1\r\n"):
                    break  # a client that tries TLS first
                path = line.split()[1].decode()
                while (await reader.readline()).strip():
                    pass
                if not await self._answer(path, writer):
                    break
        except ConnectionError:
            pass  # skopeo was killed, which is what some tests are about
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; tell whether the connection can take another."""
        if path == "/v2/":
            return await _send(writer, "200 OK", "application/json", b"{}")
        self.requested.append(path)
        media_type, body = self._answers.get(path, ("", b""))
        if not media_type:
            problem = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            return await _send(writer, "404 Not Found", "application/json", problem)
        half = len(body) // 2
        match self.faults.get(path.rpartition("/")[2]):
            case None:
                return await _send(writer, "200 OK", media_type, body)
            case Fault.WRONG_BYTES:
                wrong = bytes(byte ^ 0xFF for byte in body)
                return await _send(writer, "200 OK", media_type, wrong)
            case Fault.SERVER_ERROR:
                return await _send(writer, "500 Internal Server Error", "text/plain", b"broken")
            case Fault.DIE_HALF_WAY:
                await _send(writer, "200 OK", media_type, body[:half], length=len(body))
                writer.transport.abort()
            case Fault.HANG_HALF_WAY:
                await _send(writer, "200 OK", media_type, body[:half], length=len(body))
                await self._closing.wait()
            case Fault.HANG:
                await self._released.wait()
                if not self._closing.is_set():
                    return await _send(writer, "200 OK", media_type, body)
            case Fault.TOO_LONG:
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n\r\n".encode())
                writer.write(body)
                while not self._closing.is_set():
                    writer.write(bytes(64 * 1024))
                    await writer.drain()
        return False


@contextlib.contextmanager
def faulty_registry() -> Iterator[tuple[FaultyRegistry, Callable[[], None]]]:
    """A registry in a thread, and a function that answers what hangs (``Fault.HANG``)."""
    registry = FaultyRegistry()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(registry.__aenter__(), loop).result(PATIENCE)
        try:
            yield registry, lambda: _release(registry, loop)
        finally:
            closing = registry.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(closing, loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _release(registry: FaultyRegistry, loop: asyncio.AbstractEventLoop) -> None:
    """Also answer at once what is asked for from now on."""
    registry.faults.clear()
    loop.call_soon_threadsafe(registry.release)


async def _send(
    writer: asyncio.StreamWriter,
    status: str,
    media_type: str,
    body: bytes,
    *,
    length: int | None = None,
) -> bool:
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True
