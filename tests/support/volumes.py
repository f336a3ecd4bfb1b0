# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers applied by the real worker over a real qemu-nbd, to a raw file to look into."""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.support.images import LayerContent
from tests.support.privileges import call_as_root
from tests.support.trees import Node, mounted, scan
from virtlayer import programs
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.workers.layer import AppliedLayer, LayerRequest, LayerWorker
from virtlayer.worker.ext4.filesystem import Ext4Filesystem

SIZE = 256 * 1024 * 1024


@contextlib.asynccontextmanager
async def served(volume: Path, image_format: str = "raw") -> AsyncIterator[socket.socket]:
    """A connection to a qemu-nbd that serves a volume, and ends when the connection does."""
    with tempfile.TemporaryDirectory(prefix="nbd") as directory:
        address = f"{directory}/s"
        argv: list[str | Path] = [
            "qemu-nbd",
            f"--format={image_format}",
            f"--socket={address}",
            # Nothing but zeroes becomes a hole: a test of 5 GiB needs no 5 GiB.
            "--discard=unmap",
            "--detect-zeroes=unmap",
            volume,
        ]
        async with programs.running(argv) as server:
            with socket.socket(socket.AF_UNIX) as connection:
                while connection.connect_ex(address):
                    assert server.returncode is None, server.stderr_tail
                    await asyncio.sleep(0.001)
                yield connection
            await server.check()


async def format_volume(
    volume: Path, size: int, identity: str, fill: Callable[[Ext4Filesystem], None]
) -> None:
    """Make a raw file with a file system, and fill it; then e2fsck must find nothing to say."""
    with volume.open("wb") as stream:
        stream.truncate(size)
    async with served(volume) as connection:
        with Ext4Filesystem.formatted(connection.dup(), size, identity) as filesystem:
            fill(filesystem)
            filesystem.finish()
            filesystem.leave()
    assert_sound(volume)


async def apply_layer(
    worker: LayerWorker,
    volume: Path,
    content: LayerContent,
    *,
    format_size: int | None,
    image_format: str = "raw",
    base: str | None = None,
    result: str | None = None,
) -> AppliedLayer:
    """Apply one layer to a volume, which is formatted first where a size is given."""
    async with served(volume, image_format) as connection:
        return await _apply(
            worker,
            connection,
            content,
            format_size=format_size,
            last=True,
            base=base,
            result=result,
        )


async def _apply(
    worker: LayerWorker,
    connection: socket.socket | None,
    content: LayerContent,
    *,
    format_size: int | None,
    last: bool,
    base: str | None = None,
    result: str | None = None,
) -> AppliedLayer:
    with open_blob(content.blob) as blob:
        return await worker.apply(
            LayerRequest(
                blob=GrowingBlob.complete(blob, len(content.blob)),
                nbd=connection,
                diff_id=content.diff_id,
                description=f"The layer {content.digest[:19]}",
                format_size=format_size,
                last=last,
                base=base,
                result=result,
            ),
            lambda _: None,
        )


@contextlib.contextmanager
def open_blob(content: bytes) -> Iterator[int]:
    """A descriptor of some bytes, at their beginning."""
    with tempfile.TemporaryFile() as stream:
        stream.write(content)
        stream.seek(0)
        yield stream.fileno()


async def build_volume(
    worker: LayerWorker, volume: Path, layers: Iterable[LayerContent], *, size: int = SIZE
) -> None:
    """Apply layers to a new raw file; after each of them e2fsck must find nothing to say."""
    volume.write_bytes(b"")
    os.truncate(volume, size)
    format_size: int | None = size
    for content in layers:
        await apply_layer(worker, volume, content, format_size=format_size)
        format_size = None
        assert_sound(volume)


async def build_at_once(
    worker: LayerWorker, volume: Path, layers: Sequence[LayerContent], *, size: int = SIZE
) -> None:
    """Apply layers to a new raw file that stays open in between; e2fsck finds nothing to say."""
    volume.write_bytes(b"")
    os.truncate(volume, size)
    async with served(volume) as connection:
        for position, content in enumerate(layers, start=1):
            first, last = position == 1, position == len(layers)
            to = connection if first else None
            await _apply(worker, to, content, format_size=size, last=last)
    assert_sound(volume)


def assert_sound(volume: Path) -> None:
    """``e2fsck -fn`` exits with 0."""
    result = subprocess.run(["e2fsck", "-fn", volume], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def tree_of(volume: Path) -> dict[bytes, Node]:
    """The tree of a raw volume, as the kernel shows it to root."""
    return call_as_root(_tree_of, volume)


def _tree_of(volume: Path) -> dict[bytes, Node]:
    with (
        tempfile.TemporaryDirectory(prefix="mnt") as directory,
        mounted(volume, Path(directory)) as root,
    ):
        return scan(root)


def fingerprint(volume: Path) -> str:
    """sha256 of everything that a guest could read."""
    with volume.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
