# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening images in tests: the directories that it takes, and what comes out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.support.leftovers import children
from tests.support.receiving import Gathered
from virtlayer.service.source.access import Access
from virtlayer.service.source.caller_source import ArchiveRoom
from virtlayer.service.source.image import Image, Layer
from virtlayer.service.source.platform import parse_platform
from virtlayer.service.source.policy import SignaturePolicy
from virtlayer.service.source.reference import parse_reference
from virtlayer.service.source.skopeo import (
    BlobStream,
    OpenImage,
    Source,
    open_image,
    started_source,
)
from virtlayer.service.source.workspace import PATIENCE, Workspace
from virtlayer.sizes import GIB, MIB

PLAIN = Access(tls_verify=False)


class Sources:
    """Opens images with directories of its own, and knows what is left in them."""

    def __init__(self, directory: Path, *, room: int = GIB) -> None:
        self._room = ArchiveRoom(room)
        self.policy = SignaturePolicy(file=Path("/etc/containers/policy.json"))
        self._runtime = directory / "run"
        self._scratch = directory / "scratch"

    @contextlib.asynccontextmanager
    async def open(
        self,
        reference: str,
        access: Access = PLAIN,
        *,
        platform: str | None = None,
        patience: float = 60,
    ) -> AsyncIterator[OpenImage]:
        """Open an image by the text of its reference."""
        async with open_image(
            parse_reference(reference),
            access,
            parse_platform(platform) if platform else None,
            self._workspace(patience),
        ) as opened:
            yield opened

    def started(self, reference: str) -> AbstractAsyncContextManager[Source]:
        """Start a source by the text of its reference."""
        return started_source(parse_reference(reference), PLAIN, None, self._workspace())

    def _workspace(self, patience: float = PATIENCE) -> Workspace:
        return Workspace(
            runtime=self._runtime,
            scratch=self._scratch,
            room=self._room,
            policy=self.policy,
            patience=patience,
        )

    async def image(
        self, reference: str, access: Access = PLAIN, *, platform: str | None = None
    ) -> Image:
        """The properties of an opened image."""
        async with self.open(reference, access, platform=platform) as opened:
            return opened.image

    async def blobs(
        self, reference: str, access: Access = PLAIN, *, patience: float = 60
    ) -> list[bytes]:
        """The blobs of all layers, streamed at the same time, base first."""
        async with self.open(reference, access, patience=patience) as opened:
            # Unlike gather(), a group waits for all of its tasks when it is cancelled.
            try:
                async with asyncio.TaskGroup() as group:
                    reading = [
                        group.create_task(blob_of(opened, layer)) for layer in opened.image.layers
                    ]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
            return [task.result() for task in reading]

    def left(self) -> list[Path]:
        """Files and directories that should not be there when nothing is open."""
        return [path for place in (self._runtime, self._scratch) for path in place.glob("*")]


async def blob_of(opened: OpenImage, layer: Layer) -> bytes:
    """The whole blob of a layer."""
    async with opened.blob(layer) as stream:
        return await read_to_end(stream)


async def read_to_end(stream: BlobStream) -> bytes:
    """The rest of a stream."""
    content = bytearray()
    while chunk := await read_some(stream):
        content += chunk
    return bytes(content)


async def read_some(stream: BlobStream) -> bytes:
    """The next bytes of a stream; nothing at the end."""
    output = Gathered(MIB)
    length = await stream.receive(output)
    assert length == len(output.content), "what was counted is what came"
    return output.content


def words_of_children() -> str:
    """The command lines and environments of our children, as any user of the host sees them."""
    words = b""
    for pid in children():
        with contextlib.suppress(OSError):
            words += Path(f"/proc/{pid}/cmdline").read_bytes()
            words += Path(f"/proc/{pid}/environ").read_bytes()
    return words.decode(errors="replace")
