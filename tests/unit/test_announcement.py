# SPDX-License-Identifier: LGPL-2.1-or-later
"""Announcements of a blob that arrives, and what a worker reads of it."""

import asyncio
import gzip
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.leftovers import nothing_left
from tests.support.waiting import PATIENCE, wait_until
from virtlayer.errors import RegistryUnavailable
from virtlayer.service.blobs.announcement import announced
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.blob_reader import GrowingBlobReader, RecentBytes
from virtlayer.worker.problems import BrokenStream

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return path


def read_all(descriptor: int, announcements: int, recent: RecentBytes | None = None) -> bytes:
    blob, content = GrowingBlobReader(descriptor, announcements, recent), b""
    while piece := blob.read(100_000):
        content += piece
    assert blob.consumed == len(content)
    return content


async def read_while[T](
    file: Path,
    fill: Callable[[Callable[[int], None]], object],
    read: Callable[[int, int], T],
) -> T:
    """What ``read`` makes of a blob, as a worker, while ``fill`` says what has arrived."""

    async def write() -> None:
        step = fill(growing.grow)
        if asyncio.iscoroutine(step):
            await step

    descriptor = os.open(file, os.O_RDONLY)
    growing = GrowingBlob(descriptor)
    try:
        async with (
            asyncio.timeout(PATIENCE),
            growing.written(write) as blob,
            announced(blob) as announcements,
        ):
            return await asyncio.to_thread(read, descriptor, announcements)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("steps", [1, 2, 1000])
async def test_a_blob_is_read_as_it_arrives(file: Path, steps: int) -> None:
    async def fill(grow: Callable[[int], None]) -> None:
        for step in range(steps):
            grow(len(CONTENT) * (step + 1) // steps - len(CONTENT) * step // steps)
            await asyncio.sleep(0)

    with nothing_left():
        assert await read_while(file, fill, read_all) == CONTENT


async def test_a_blob_that_is_there_is_read_at_once(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        async with announced(GrowingBlob.complete(descriptor, len(CONTENT))) as announcements:
            assert await asyncio.to_thread(read_all, descriptor, announcements) == CONTENT
    finally:
        os.close(descriptor)


async def test_an_empty_blob_has_no_bytes(file: Path) -> None:
    assert await read_while(file, lambda _grow: None, read_all) == b""


@pytest.mark.parametrize("error", [RegistryUnavailable("it died"), RuntimeError("a defect")])
async def test_a_blob_that_does_not_come_has_an_end(file: Path, error: Exception) -> None:
    def fill(grow: Callable[[int], None]) -> None:
        grow(1000)
        raise error

    assert await read_while(file, fill, read_all) == CONTENT[:1000]


async def test_a_blob_that_is_given_up_has_an_end(file: Path) -> None:
    async def fill(grow: Callable[[int], None]) -> None:
        grow(1000)
        raise asyncio.CancelledError

    assert await read_while(file, fill, read_all) == CONTENT[:1000]


async def test_reader_can_stop_before_the_end(tmp_path: Path) -> None:
    file = tmp_path / "blob.gz"
    file.write_bytes(gzip.compress(CONTENT, 1))
    reached, ended = threading.Event(), threading.Event()

    def leave_early(descriptor: int, announcements: int) -> None:
        blob = GrowingBlobReader(descriptor, announcements)
        with LayerStream(blob, "sha256", 2**40) as stream:
            assert stream.read(512) == CONTENT[:512]
            reached.set()
            wait_until(lambda: blob.consumed >= 100_000)
            # The other thread waits for more by now, or will.
            time.sleep(0.05)
        ended.set()

    async def hang(grow: Callable[[int], None]) -> None:
        grow(100_000)
        await asyncio.Event().wait()

    await read_while(file, hang, leave_early)
    assert reached.is_set()
    assert ended.is_set()


async def test_a_cut_blob_is_a_broken_stream(tmp_path: Path) -> None:
    file = tmp_path / "blob.gz"
    file.write_bytes(gzip.compress(CONTENT, 1))

    def read(descriptor: int, announcements: int) -> None:
        with LayerStream(GrowingBlobReader(descriptor, announcements), "sha256", 2**40) as stream:
            stream.drain()

    descriptor = os.open(file, os.O_RDONLY)
    try:
        async with announced(GrowingBlob.complete(descriptor, 100_000)) as announcements:
            with pytest.raises(BrokenStream, match="too early"):
                await asyncio.to_thread(read, descriptor, announcements)
    finally:
        os.close(descriptor)
