# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blob cache: files named by their digest, shared by jobs and processes.

``<directory>/<algorithm>/<hex>`` is a complete blob, and ``<directory>/partial/<hex>-<source>`` one
that is being downloaded. Files are locked with flock(2). A partial blob has an exclusive lock while
it is written, and a complete blob has a shared lock while it is used. The kernel releases the locks
of a process that ends. A lock is valid only if the name still refers to the locked file, because
another process may have renamed or removed it in between.

A user gets a blob from the cache only with permission to use it. Otherwise the blob is downloaded
again without waiting: only downloads from the same source wait for each other.

The cache is not synced to disk: each process verifies a file once before it uses it.
"""

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from virtlayer.service.blobs.download import BlobUser, Download, OpenStream
from virtlayer.service.blobs.file_digest import digest_of_file
from virtlayer.service.blobs.growing_blob import GrowingBlob
from virtlayer.service.blobs.recent_bytes import RecentBytes
from virtlayer.service.blobs.writer import is_huge
from virtlayer.service.source.digest import ALGORITHMS
from virtlayer.service.source.image import Layer

_PARTIAL = "partial"
_POLL_SECONDS = 0.02


class BlobCache:
    """The verified blobs that were downloaded; the least recently used ones are evicted.

    Args:
        directory: The directory of the cache, which only this user can access. It is created when
            it is needed, and several processes may share it.
        size_limit: The maximum size of all blobs in bytes; blobs in use may exceed it.
    """

    def __init__(self, directory: Path, size_limit: int) -> None:
        self.directory = directory
        self._size_limit = size_limit
        self._verified: set[tuple[str, int, int]] = set()
        self._swept = False

    @contextlib.asynccontextmanager
    async def fetch(
        self,
        layer: Layer,
        open_stream: OpenStream,
        user: BlobUser,
        *,
        keep: bool,
        on_bytes: Callable[[int], None],
    ) -> AsyncIterator[GrowingBlob]:
        """Provide a blob from the cache or from a running download, valid inside the context.

        Until the blob is verified, its readable bytes are untrusted data of the source. Later
        errors are raised by ``GrowingBlob.verified``: errors of the download, a wrong digest, and
        too little space. A blob that is incomplete at the end of the context is not kept.

        Args:
            layer: The layer of the blob.
            open_stream: Opens the stream of the blob, if it is not in the cache.
            user: The user that needs the blob.
            keep: False to always download it, to a file without a name.
            on_bytes: Called with the number of new bytes; once with the size for a cached blob.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            self.sweep()
        download = Download(layer, open_stream, user, on_bytes)
        giving = self._kept if keep else self._nameless
        async with giving(download) as blob:
            yield blob

    @contextlib.asynccontextmanager
    async def cached(self, layer: Layer) -> AsyncIterator[int | None]:
        """Open a verified blob of the cache, for reading at offset 0; None if it is not cached."""
        with contextlib.ExitStack() as files:
            yield await self._cached(layer, files)

    def digests(self) -> frozenset[str]:
        """Return the digests of the cached blobs."""
        return frozenset(
            f"{algorithm}:{path.name}"
            for algorithm in ALGORITHMS
            for path in _files(self.directory / algorithm)
        )

    def sweep(self) -> None:
        """Remove the leftovers of killed writers; the first fetch also does so."""
        for path in _files(self.directory / _PARTIAL):
            with _locked(path, fcntl.LOCK_EX) as descriptor:
                if descriptor is not None:
                    path.unlink()

    @contextlib.asynccontextmanager
    async def _nameless(self, download: Download) -> AsyncIterator[GrowingBlob]:
        with (
            tempfile.TemporaryFile(dir=self.directory, buffering=0) as file,
            _read_only(file.fileno()) as descriptor,
        ):
            growing = _empty_blob(descriptor, download.layer)
            write = functools.partial(download.run, file.fileno(), growing)
            async with growing.written(write) as blob:
                yield blob

    @contextlib.asynccontextmanager
    async def _kept(self, download: Download) -> AsyncIterator[GrowingBlob]:
        layer = download.layer
        async with contextlib.AsyncExitStack() as afterwards:
            while True:
                with contextlib.ExitStack() as files:
                    if (descriptor := await self._usable(download, files)) is not None:
                        download.on_bytes(layer.size)
                        yield GrowingBlob.complete(descriptor, layer.size)
                        return
                with self._partial(layer, download.user.source) as partial:
                    # During the wait, another task may have downloaded it from the same source.
                    if partial is not None and not await self._is_usable(download):
                        await asyncio.to_thread(self._evict, layer.size)
                        afterwards.push_async_callback(asyncio.to_thread, self._evict, 0)
                        async with self._downloaded(partial, download) as blob:
                            yield blob
                        return
                await asyncio.sleep(_POLL_SECONDS)

    @contextlib.asynccontextmanager
    async def _downloaded(self, partial: int, download: Download) -> AsyncIterator[GrowingBlob]:
        async def write() -> None:
            await download.run(partial, growing)
            self._publish(partial, descriptor, download)

        with _read_only(partial) as descriptor:
            growing = _empty_blob(descriptor, download.layer)
            async with growing.written(write) as blob:
                yield blob

    async def _is_usable(self, download: Download) -> bool:
        path = self._path(download.layer)
        return path.exists() and await download.may_be_left_out()

    async def _usable(self, download: Download, files: contextlib.ExitStack) -> int | None:
        """Open a verified blob of the cache that its user may use; None if there is none."""
        if not await self._is_usable(download):
            return None
        return await self._cached(download.layer, files)

    async def _cached(self, layer: Layer, files: contextlib.ExitStack) -> int | None:
        """Open and verify a complete blob of the cache; a blob with a wrong digest is removed."""
        path = self._path(layer)
        with contextlib.ExitStack() as opened:
            descriptor = opened.enter_context(_locked(path, fcntl.LOCK_SH))
            if descriptor is None:
                return None
            if not await self._is_right(descriptor, layer):
                path.unlink(missing_ok=True)
                return None
            # The access time records the last use, also on mounts that do not update it.
            modified = os.fstat(descriptor).st_mtime_ns
            os.utime(descriptor, ns=(time.time_ns(), modified))
            files.push(opened.pop_all())
            return descriptor

    async def _is_right(self, descriptor: int, layer: Layer) -> bool:
        if os.fstat(descriptor).st_size != layer.size:
            return False
        identity = _identity(descriptor, layer)
        if identity not in self._verified:
            if await digest_of_file(descriptor, layer) != layer.digest:
                return False
            self._verified.add(identity)
        return True

    @contextlib.contextmanager
    def _partial(self, layer: Layer, source: str) -> Iterator[int | None]:
        """Create and lock the partial file of a blob; None while another process has it."""
        path = self._partial_path(layer, source)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with _locked(path, fcntl.LOCK_EX, os.O_RDWR | os.O_CREAT) as descriptor:
            if descriptor is None:
                yield None
                return
            os.ftruncate(descriptor, 0)
            try:
                yield descriptor
            finally:
                # After publication, the name is free for the next download.
                if _is_at(descriptor, path):
                    path.unlink()

    def _publish(self, partial: int, blob: int, download: Download) -> None:
        layer = download.layer
        os.fchmod(partial, 0o400)
        fcntl.flock(partial, fcntl.LOCK_SH)
        fcntl.flock(blob, fcntl.LOCK_SH)
        self._verified.add(_identity(blob, layer))
        path = self._path(layer)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # If another process removes the file meanwhile, its name is removed, not the data.
        with contextlib.suppress(FileNotFoundError):
            self._partial_path(layer, download.user.source).rename(path)

    def _partial_path(self, layer: Layer, source: str) -> Path:
        # The name of a source may be longer than a file name can be.
        key = hashlib.sha256(source.encode()).hexdigest()[:32]
        return self.directory / _PARTIAL / f"{layer.digest.partition(':')[2]}-{key}"

    def _path(self, layer: Layer) -> Path:
        algorithm, _, hexadecimal = layer.digest.partition(":")
        return self.directory / algorithm / hexadecimal

    def _evict(self, room: int) -> None:
        """Remove the least recently used blobs until ``room`` more bytes fit within the limit."""
        blobs = []
        for algorithm in ALGORITHMS:
            for path in _files(self.directory / algorithm):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    blobs.append((status.st_atime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in blobs) + room - self._size_limit
        for _, size, path in sorted(blobs):
            if excess <= 0:
                break
            with _locked(path, fcntl.LOCK_EX) as descriptor:
                if descriptor is not None:
                    path.unlink()
                    excess -= size


def _empty_blob(descriptor: int, layer: Layer) -> GrowingBlob:
    return GrowingBlob(descriptor, RecentBytes() if is_huge(layer) else None)


def _identity(descriptor: int, layer: Layer) -> tuple[str, int, int]:
    status = os.fstat(descriptor)
    return layer.digest, status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def _locked(path: Path, lock: int, flags: int = os.O_RDONLY) -> Iterator[int | None]:
    """Open and lock a file; None if it does not exist or another process has locked it."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor if _lock(descriptor, lock) and _is_at(descriptor, path) else None
    finally:
        # The lock is released with the last descriptor of the open file.
        os.close(descriptor)


def _lock(descriptor: int, lock: int) -> bool:
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _read_only(descriptor: int) -> Iterator[int]:
    """Reopen the file of a descriptor, for reading from its start."""
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield again
    finally:
        os.close(again)


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []
