# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blob cache: shared, verified, bounded, and without leftovers."""

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.blob_users import User
from tests.support.leftovers import nothing_left
from tests.support.receiving import receive
from tests.support.small_filesystem import small_filesystem
from virtlayer.cancellation import to_completion
from virtlayer.errors import DigestMismatch, Internal, NoSpace, RegistryUnavailable
from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.source.image import Layer
from virtlayer.service.source.skopeo_pipe import Receiver
from virtlayer.sizes import MIB

CONTENT = bytes(range(256)) * 12_345  # more than one chunk, and no whole number of them


def layer_of(content: bytes, algorithm: str = "sha256") -> Layer:
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    return Layer(digest, len(content), "application/vnd.oci.image.layer.v1.tar", digest)


class Source:
    """A download of given bytes, in pieces; counts how often it was opened."""

    def __init__(self, content: bytes, *, pause: asyncio.Event | None = None) -> None:
        self.content = content
        self.opened = 0
        self.pause = pause
        self.paused = asyncio.Event()
        self.failure: Exception | None = None

    def __call__(self) -> AbstractAsyncContextManager["Stream"]:
        return self._stream()

    @contextlib.asynccontextmanager
    async def _stream(self) -> AsyncIterator["Stream"]:
        self.opened += 1
        yield Stream(self)


class Stream:
    is_compared = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    async def receive(self, output: Receiver) -> int:
        source = self._source
        if self._position > len(source.content) // 2:
            if source.failure:
                raise source.failure
            if source.pause:
                source.paused.set()
                await source.pause.wait()
        chunk = source.content[self._position : self._position + 100_000]
        self._position += len(chunk)
        return await to_completion(asyncio.to_thread(receive, chunk, output))


@contextlib.asynccontextmanager
async def borrowed(
    cache: BlobCache, layer: Layer, source: Source, *, keep: bool = True
) -> AsyncIterator[tuple[bytes, int]]:
    """The content that was lent, once it is verified, and how many bytes were counted."""
    counted: list[int] = []
    async with cache.fetch(layer, source, User(), keep=keep, on_bytes=counted.append) as blob:
        await blob.verified()
        with os.fdopen(os.dup(blob.descriptor), "rb") as file:
            yield file.read(), sum(counted)


def is_over(blob: GrowingBlob) -> bool:
    # A function, because its answer changes while the test waits.
    return blob.is_over


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[BlobCache]:
    with nothing_left():
        yield BlobCache(tmp_path / "blobs", 1024 * MIB)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[:MIB], CONTENT])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_second_borrower_gets_it_from_the_cache(
    cache: BlobCache, content: bytes, algorithm: str
) -> None:
    layer, source = layer_of(content, algorithm), Source(content)
    for _ in range(2):
        async with borrowed(cache, layer, source) as lent:
            assert lent == (content, len(content))
    assert source.opened == 1
    assert files(cache.directory) == [layer.digest.partition(":")[2]]


async def test_files_are_private_and_read_only(cache: BlobCache) -> None:
    layer = layer_of(CONTENT)
    async with cache.fetch(
        layer, Source(CONTENT), User(), keep=True, on_bytes=lambda _: None
    ) as lent:
        await lent.verified()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(lent.descriptor, b"x")
        assert os.lseek(lent.descriptor, 0, os.SEEK_CUR) == 0
        assert os.fstat(lent.descriptor).st_mode & 0o777 == 0o400
    assert cache.directory.stat().st_mode & 0o777 == 0o700


async def test_without_keep_nothing_has_a_name_at_any_time(cache: BlobCache) -> None:
    layer = layer_of(CONTENT)
    release = asyncio.Event()
    source = Source(CONTENT, pause=release)

    async def borrow() -> bytes:
        async with borrowed(cache, layer, source, keep=False) as (content, _):
            assert files(cache.directory) == []
            return content

    task = asyncio.create_task(borrow())
    await source.paused.wait()
    assert files(cache.directory) == []
    release.set()
    assert await task == CONTENT
    assert files(cache.directory) == []


@pytest.mark.parametrize("keep", [True, False])
async def test_a_blob_can_be_read_while_it_arrives(cache: BlobCache, keep: bool) -> None:
    layer, release = layer_of(CONTENT), asyncio.Event()
    source = Source(CONTENT, pause=release)
    async with cache.fetch(layer, source, User(), keep=keep, on_bytes=lambda _: None) as blob:
        await source.paused.wait()
        half = await blob.readable(0)
        assert 0 < half < len(CONTENT)
        assert not is_over(blob)
        assert os.pread(blob.descriptor, len(CONTENT), 0)[:half] == CONTENT[:half]
        release.set()
        size = half
        while (more := await blob.readable(size)) > size:
            size = more
        assert is_over(blob)
        assert os.pread(blob.descriptor, len(CONTENT) + 1, 0) == CONTENT
        assert size == len(CONTENT)


@pytest.mark.parametrize("keep", [True, False])
async def test_reader_of_a_wrong_blob_gets_the_error(cache: BlobCache, keep: bool) -> None:
    wrong = Source(b"x" * len(CONTENT))
    async with cache.fetch(
        layer_of(CONTENT), wrong, User(), keep=keep, on_bytes=lambda _: None
    ) as blob:
        size = 0
        while size < len(CONTENT):
            size = await blob.readable(size)
        with pytest.raises(DigestMismatch):
            await blob.readable(size)
    assert files(cache.directory) == []


@pytest.mark.parametrize("keep", [True, False])
async def test_a_blob_given_back_half_way_is_not_kept(cache: BlobCache, keep: bool) -> None:
    source = Source(CONTENT, pause=asyncio.Event())
    async with cache.fetch(
        layer_of(CONTENT), source, User(), keep=keep, on_bytes=lambda _: None
    ) as blob:
        await source.paused.wait()
        assert await blob.readable(0)
    assert files(cache.directory) == []


async def test_without_keep_a_cached_blob_is_not_used(cache: BlobCache) -> None:
    layer, source = layer_of(CONTENT), Source(CONTENT)
    async with borrowed(cache, layer, source):
        pass
    async with borrowed(cache, layer, source, keep=False) as lent:
        assert lent == (CONTENT, len(CONTENT))
    assert source.opened == 2
    assert len(files(cache.directory)) == 1


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "wrong", [CONTENT[:-1], CONTENT + b"x", b"", b"x" * len(CONTENT), CONTENT * 2]
)
async def test_other_bytes_are_refused(cache: BlobCache, wrong: bytes, keep: bool) -> None:
    with pytest.raises(DigestMismatch):
        async with borrowed(cache, layer_of(CONTENT), Source(wrong), keep=keep):
            raise AssertionError("lent")
    assert files(cache.directory) == []


@pytest.mark.parametrize("keep", [True, False])
async def test_a_failed_download_leaves_nothing(cache: BlobCache, keep: bool) -> None:
    layer, source = layer_of(CONTENT), Source(CONTENT)
    source.failure = RegistryUnavailable("died half-way")
    with pytest.raises(RegistryUnavailable):
        async with borrowed(cache, layer, source, keep=keep):
            raise AssertionError("lent")
    assert files(cache.directory) == []
    source.failure = None
    async with borrowed(cache, layer, source, keep=keep) as lent:
        assert lent == (CONTENT, len(CONTENT))


@pytest.mark.parametrize("keep", [True, False])
async def test_a_cancelled_download_leaves_nothing(cache: BlobCache, keep: bool) -> None:
    source = Source(CONTENT, pause=asyncio.Event())

    async def borrow() -> None:
        async with borrowed(cache, layer_of(CONTENT), source, keep=keep):
            raise AssertionError("lent")

    task = asyncio.create_task(borrow())
    await source.paused.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(cache.directory) == []


async def test_borrowers_at_the_same_time_share_a_download(cache: BlobCache) -> None:
    layer, source = layer_of(CONTENT), Source(CONTENT)

    async def borrow() -> tuple[bytes, int]:
        async with borrowed(cache, layer, source) as lent:
            return lent

    assert await asyncio.gather(*(borrow() for _ in range(8))) == [(CONTENT, len(CONTENT))] * 8
    assert source.opened == 1


async def test_a_waiting_borrower_takes_over_from_a_cancelled_one(
    cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, slow, quick = layer_of(CONTENT), Source(CONTENT, pause=asyncio.Event()), Source(CONTENT)
    looked = asyncio.Event()

    @contextlib.contextmanager
    def partial(self: BlobCache, layer: Layer, source: str) -> Iterator[int | None]:
        with _partial(self, layer, source) as descriptor:
            if descriptor is None:
                looked.set()
            yield descriptor

    _partial = BlobCache._partial
    monkeypatch.setattr(BlobCache, "_partial", partial)

    async def borrow(source: Source) -> tuple[bytes, int]:
        async with borrowed(cache, layer, source) as lent:
            return lent

    first = asyncio.create_task(borrow(slow))
    await slow.paused.wait()
    second = asyncio.create_task(borrow(quick))
    # It has found that the blob is being downloaded.
    await looked.wait()
    assert quick.opened == 0
    first.cancel()
    assert await second == (CONTENT, len(CONTENT))
    assert quick.opened == 1
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize(
    "damage", [b"", CONTENT[:-1], b"x" * len(CONTENT), CONTENT + b"x"], ids=len
)
async def test_a_damaged_file_is_replaced(cache: BlobCache, damage: bytes) -> None:
    layer, source = layer_of(CONTENT), Source(CONTENT)
    async with borrowed(cache, layer, source):
        pass
    path = cache.directory / "sha256" / layer.digest.partition(":")[2]
    path.chmod(0o600)
    path.write_bytes(damage)
    another_process = BlobCache(cache.directory, 1024 * MIB)
    async with borrowed(another_process, layer, source) as lent:
        assert lent == (CONTENT, len(CONTENT))
    assert source.opened == 2
    assert path.read_bytes() == CONTENT


async def test_the_least_recently_used_go(tmp_path: Path) -> None:
    contents = [bytes([number]) * MIB for number in range(4)]
    layers = [layer_of(content) for content in contents]
    cache = BlobCache(tmp_path, 3 * MIB)

    async def use(number: int) -> None:
        async with borrowed(cache, layers[number], Source(contents[number])):
            pass

    for number in (0, 1, 2, 0, 3):
        await use(number)
    left = {layers[number].digest.partition(":")[2] for number in (2, 0, 3)}
    assert set(files(tmp_path)) == left


async def test_a_borrowed_blob_stays(tmp_path: Path) -> None:
    contents = [bytes([number]) * MIB for number in range(2)]
    cache = BlobCache(tmp_path, 0)
    async with borrowed(cache, layer_of(contents[0]), Source(contents[0])):
        # As another process would.
        other = BlobCache(tmp_path, 0)
        async with borrowed(other, layer_of(contents[1]), Source(contents[1])):
            assert len(files(tmp_path)) == 2
        assert files(tmp_path) == [layer_of(contents[0]).digest.partition(":")[2]]
    assert files(tmp_path) == []


async def test_only_files_of_dead_writers_are_removed(tmp_path: Path) -> None:
    dead = tmp_path / "partial" / ("0" * 64)
    dead.parent.mkdir()
    dead.write_bytes(b"half")
    layer, release = layer_of(CONTENT), asyncio.Event()
    source = Source(CONTENT, pause=release)

    async def borrow() -> bytes:
        async with borrowed(BlobCache(tmp_path, 1024 * MIB), layer, source) as (content, _):
            return content

    task = asyncio.create_task(borrow())
    await source.paused.wait()
    assert not dead.exists()
    BlobCache(tmp_path, 1024 * MIB).sweep()
    [living] = files(tmp_path / "partial")
    assert living.startswith(layer.digest.partition(":")[2])
    release.set()
    assert await task == CONTENT


async def test_file_of_a_dead_writer_does_not_block_a_download(cache: BlobCache) -> None:
    layer = layer_of(CONTENT)
    half = cache.directory / "partial" / layer.digest.partition(":")[2]
    half.parent.mkdir(parents=True)
    half.write_bytes(CONTENT[:1000])
    async with borrowed(cache, layer, Source(CONTENT)) as lent:
        assert lent == (CONTENT, len(CONTENT))


async def test_a_cache_that_is_emptied_meanwhile(cache: BlobCache) -> None:
    layer, release = layer_of(CONTENT), asyncio.Event()
    source = Source(CONTENT, pause=release)
    async with cache.fetch(layer, source, User(), keep=True, on_bytes=lambda _: None) as blob:
        await source.paused.wait()
        shutil.rmtree(cache.directory)
        release.set()
        await blob.verified()
        assert os.pread(blob.descriptor, len(CONTENT) + 1, 0) == CONTENT
    assert files(cache.directory) == []
    async with borrowed(cache, layer, source) as lent:
        assert lent == (CONTENT, len(CONTENT))
    assert source.opened == 2


async def assert_a_failing_disk_is_told(
    cache: BlobCache, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    # No disk here fails on demand.
    monkeypatch.setattr(os, "write", fail)
    async with cache.fetch(
        layer_of(content), Source(content), User(), keep=True, on_bytes=lambda _: None
    ) as blob:
        with pytest.raises(Internal, match=r"blob cache: Input/output error"):
            await blob.verified()
    assert files(cache.directory) == []


async def test_a_file_that_cannot_be_written(
    cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_a_failing_disk_is_told(cache, CONTENT, monkeypatch)


async def test_no_space(tmp_path: Path) -> None:
    content = os.urandom(8 * MIB)
    place = tmp_path / "small"
    place.mkdir()
    with small_filesystem(place, 4 * MIB):
        cache = BlobCache(place, 1024 * MIB)
        for keep in (True, False):
            with pytest.raises(NoSpace, match="size-limit"):
                async with borrowed(cache, layer_of(content), Source(content), keep=keep):
                    raise AssertionError("lent")
        assert files(place) == []


def test_processes_share_a_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.cache_user", str(tmp_path), str(3 * MIB)]
    processes = [subprocess.Popen([*command, str(seed)]) for seed in (1, 3, 5)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert files(tmp_path / "partial") == []
    assert sum(path.stat().st_size for path in (tmp_path / "sha256").iterdir()) <= 3 * MIB


async def lent_to(
    cache: BlobCache, layer: Layer, source: Source, borrower: User, *, keep: bool = True
) -> bytes:
    async with cache.fetch(layer, source, borrower, keep=keep, on_bytes=lambda _: None) as blob:
        await blob.verified()
        return os.pread(blob.descriptor, layer.size, 0)


async def test_caller_without_access_to_cached_blob_downloads_it(cache: BlobCache) -> None:
    layer, owners, others = layer_of(CONTENT), Source(CONTENT), Source(CONTENT)
    owner, other = User("one", set()), User("two", set())
    assert await lent_to(cache, layer, owners, owner) == CONTENT
    assert await lent_to(cache, layer, others, other) == CONTENT
    assert (owners.opened, others.opened) == (1, 1)
    # Both have had it.
    for source, borrower in ((owners, owner), (others, other)):
        assert await lent_to(cache, layer, source, borrower) == CONTENT
        assert source.opened == 1
        assert borrower.has_downloaded == [layer.digest]
    assert files(cache.directory) == [layer.digest.partition(":")[2]]


async def test_failed_download_gives_no_access_to_cached_blob(cache: BlobCache) -> None:
    layer = layer_of(CONTENT)
    await lent_to(cache, layer, Source(CONTENT), User("one", set()))
    liar = User("two", set())
    with pytest.raises(DigestMismatch):
        await lent_to(cache, layer, Source(CONTENT[::-1]), liar)
    assert liar.has_downloaded == []


async def test_download_from_another_source_is_not_waited_for(cache: BlobCache) -> None:
    layer, release = layer_of(CONTENT), asyncio.Event()
    slow, quick = Source(CONTENT, pause=release), Source(CONTENT)
    first = asyncio.create_task(lent_to(cache, layer, slow, User("one", set())))
    await slow.paused.wait()
    assert await lent_to(cache, layer, quick, User("two", set())) == CONTENT
    release.set()
    assert await first == CONTENT
    assert files(cache.directory) == [layer.digest.partition(":")[2]]


async def test_download_from_the_same_source_is_waited_for(cache: BlobCache) -> None:
    layer, release = layer_of(CONTENT), asyncio.Event()
    slow, quick = Source(CONTENT, pause=release), Source(CONTENT)
    both = User("one", set())
    first = asyncio.create_task(lent_to(cache, layer, slow, both))
    await slow.paused.wait()
    second = asyncio.create_task(lent_to(cache, layer, quick, both))
    release.set()
    assert (await first, await second) == (CONTENT, CONTENT)
    assert (slow.opened, quick.opened) == (1, 0)


async def test_download_that_gives_no_right_is_repeated_each_time(cache: BlobCache) -> None:
    class Nobody(User):
        async def downloaded(self, digest: str) -> None:
            self.has_downloaded.append(digest)

    layer, source, nobody = layer_of(CONTENT), Source(CONTENT), Nobody("one", set())
    for number in range(1, 3):
        assert await lent_to(cache, layer, source, nobody) == CONTENT
        assert source.opened == number
    assert files(cache.directory) == [layer.digest.partition(":")[2]]


async def test_owner_of_an_uncached_blob_is_recorded(cache: BlobCache) -> None:
    layer, borrower = layer_of(CONTENT), User("one", set())
    await lent_to(cache, layer, Source(CONTENT), borrower, keep=False)
    assert borrower.has_downloaded == [layer.digest]
