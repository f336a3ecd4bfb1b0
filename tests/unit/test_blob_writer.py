# SPDX-License-Identifier: LGPL-2.1-or-later
"""Huge blobs go past the page cache: the same bytes, on every file system, read meanwhile."""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blob_users import User
from tests.support.leftovers import nothing_left
from tests.support.small_filesystem import small_filesystem
from tests.support.waiting import PATIENCE
from tests.unit.test_announcement import read_all
from tests.unit.test_blob_cache import Source, assert_a_failing_disk_is_told, files, layer_of
from virtlayer.errors import DigestMismatch, Internal
from virtlayer.protocol.recent_bytes import SIZE
from virtlayer.service.blobs import writer as blob_writer
from virtlayer.service.blobs.announcement import announced
from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.blobs.recent_bytes import RecentBytes as SharedBytes
from virtlayer.sizes import MIB
from virtlayer.worker.blob_reader import BlobReader, RecentBytes

SIZES = (4095, 4096, 8 * 4096, 3 * MIB + 5, 5 * MIB)


@pytest.fixture(autouse=True)
def huge_from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(blob_writer, "_HUGE", 1)
    with nothing_left():
        yield


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def shared_memory(blob: GrowingBlob) -> list[SharedBytes]:
    # A function, because its answer changes while the test waits.
    return [] if blob.recent is None else [blob.recent]


def memory_files() -> set[str]:
    links = (path for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return {str(path.readlink()) for path in links if "memfd" in str(path.readlink())}


async def read_meanwhile(
    directory: Path, content: bytes, *, keep: bool = True
) -> tuple[bytes, bool]:
    """Data that a worker reads of an incomplete blob, and whether it bypassed the cache."""
    cache = BlobCache(directory, 1024 * MIB)
    async with (
        cache.fetch(
            layer_of(content), Source(content), User(), keep=keep, on_bytes=lambda _: None
        ) as blob,
        announced(blob) as announcements,
    ):
        recent = None if blob.recent is None else RecentBytes(blob.recent.descriptor)
        read = await asyncio.to_thread(read_all, blob.descriptor, announcements, recent)
        await blob.verified()
        return read, is_direct(blob.descriptor)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keep", [True, False])
async def test_a_blob_goes_past_the_cache_and_is_read_meanwhile(
    tmp_path: Path, size: int, keep: bool
) -> None:
    content = os.urandom(size)
    assert await read_meanwhile(tmp_path, content, keep=keep) == (content, True)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == (
        [content] if keep else []
    )


@pytest.mark.parametrize("size", SIZES)
async def test_a_worker_that_waited_for_all_of_it_reads_it_to_its_end(
    tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    cache = BlobCache(tmp_path, 1024 * MIB)
    async with cache.fetch(
        layer_of(content), Source(content), User(), keep=True, on_bytes=lambda _: None
    ) as blob:
        await blob.verified()
        assert is_direct(blob.descriptor)
        file = BlobReader(blob.descriptor)
        assert b"".join(iter(lambda: file.read(100_000), b"")) == content


@pytest.mark.parametrize("size", SIZES)
async def test_memory_is_as_good_as_a_disk(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    with small_filesystem(tmp_path, 64 * MIB):
        assert (await read_meanwhile(tmp_path, content))[0] == content


@pytest.mark.parametrize("size", [size for size in SIZES if size > MIB])
async def test_a_disk_that_wants_another_alignment_is_written_through_the_cache(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def write_by_larger_blocks(descriptor: int, data: memoryview) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(descriptor, data)

    # A disk with blocks that are larger than a piece.
    monkeypatch.setattr(os, "write", write_by_larger_blocks)
    content = os.urandom(size)
    assert await read_meanwhile(tmp_path, content) == (content, False)


async def test_other_bytes_are_refused(tmp_path: Path) -> None:
    content = os.urandom(2 * MIB)
    cache = BlobCache(tmp_path, 1024 * MIB)
    for wrong in (content[:-1], content[:-4096], content + b"x", bytes(len(content)), content * 2):
        async with cache.fetch(
            layer_of(content), Source(wrong), User(), keep=True, on_bytes=lambda _: None
        ) as blob:
            with pytest.raises(DigestMismatch):
                await blob.verified()
        assert files(tmp_path) == []


async def test_failed_write_ends_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_a_failing_disk_is_told(
        BlobCache(tmp_path, 1024 * MIB), os.urandom(5 * MIB), monkeypatch
    )


async def test_a_download_that_is_given_up_waits_for_its_last_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = asyncio.Event(), threading.Event()
    loop, write, ended = asyncio.get_running_loop(), os.write, []

    def write_slowly(descriptor: int, data: memoryview) -> int:
        loop.call_soon_threadsafe(begun.set)
        assert released.wait(PATIENCE)
        length = write(descriptor, data)
        ended.append(length)
        return length

    # A disk that is as slow as this test wants it.
    monkeypatch.setattr(os, "write", write_slowly)
    source = Source(os.urandom(5 * MIB), pause=asyncio.Event())
    cache = BlobCache(tmp_path, 1024 * MIB)
    borrowing = cache.fetch(
        layer_of(source.content), source, User(), keep=True, on_bytes=lambda _: None
    )
    async with borrowing:
        await begun.wait()
        loop.call_later(0.1, released.set)
    assert ended, "the file was closed before"
    assert files(tmp_path) == []


def test_smaller_ones_stay_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_writer, "_HUGE", 2 * MIB)
    content = os.urandom(2 * MIB - 1)
    assert asyncio.run(read_meanwhile(tmp_path, content)) == (content, False)


async def test_a_slow_worker_reads_from_the_file_what_left_the_memory(tmp_path: Path) -> None:
    content = os.urandom(3 * SIZE + 5)
    cache = BlobCache(tmp_path, 1024 * MIB)
    async with cache.fetch(
        layer_of(content), Source(content), User(), keep=True, on_bytes=lambda _: None
    ) as blob:
        [shared] = shared_memory(blob)
        recent = RecentBytes(shared.descriptor)
        del shared
        await blob.verified()
        assert not shared_memory(blob), "the service keeps the memory"
        async with announced(blob) as announcements:
            read = await asyncio.to_thread(read_all, blob.descriptor, announcements, recent)
    assert read == content


async def test_nothing_is_written_after_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def fail(_descriptor: int, data: memoryview) -> int:
        written.append(len(data))
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", fail)
    content = os.urandom(2 * SIZE)
    cache = BlobCache(tmp_path, 1024 * MIB)
    async with cache.fetch(
        layer_of(content), Source(content), User(), keep=True, on_bytes=lambda _: None
    ) as blob:
        with pytest.raises(Internal, match="Input/output error") as failure:
            await blob.verified()
        # The thread that failed to write forgets its work a moment after its result is known.
        deadline = time.monotonic() + PATIENCE
        while memory_files():
            assert time.monotonic() < deadline, f"kept by {failure.value}"
            await asyncio.sleep(0.01)
    assert len(written) == 1
