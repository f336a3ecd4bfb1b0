# SPDX-License-Identifier: LGPL-2.1-or-later
"""A source that a caller passes by a descriptor: an archive, or a directory.

An archive is copied, because what skopeo reads must not change meanwhile. A directory is read where
it is, with the rights of the service: its user must be allowed to read it, as any other file of
others that the service reads.
"""

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from virtlayer.errors import InvalidArgument, NoSpace
from virtlayer.service.source.detached import detached
from virtlayer.service.source.passed_descriptor import UnsuitableDescriptor, read_passed
from virtlayer.service.source.patience import patiently
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.scratch import scratch_directory

_SECONDS = 10
"""Without progress."""
_DIRECTORIES = ("oci", "dir")
"""Transports whose images are directories."""


class ArchiveRoom:
    """The space for copies of callers' archives.

    Args:
        limit: Bytes that all copies together may take.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def share(self) -> Iterator["RoomShare"]:
        """Room for one copy; on leaving, it is free again."""
        share = RoomShare(self)
        try:
            yield share
        finally:
            with self._lock:
                share.over = True
                self._taken -= share.taken

    def take(self, share: "RoomShare", length: int) -> None:
        """Take more room.

        Raises:
            NoSpace: There is not enough.
        """
        with self._lock:
            if share.over or self._taken + length > self.limit:
                raise NoSpace(
                    f"There is no room for a copy of this archive: all copies together may have "
                    f"{self.limit} bytes (cache.archives-limit in the settings)."
                )
            self._taken += length
            share.taken += length


class RoomShare:
    """The room that one copy has."""

    def __init__(self, room: ArchiveRoom) -> None:
        self._room = room
        self.taken = 0
        self.over = False

    def take(self, length: int) -> None:
        """Take more room.

        Raises:
            NoSpace: There is not enough.
        """
        self._room.take(self, length)


@dataclass(frozen=True, slots=True)
class Place:
    """Where skopeo finds an image.

    Attributes:
        reference: What it opens.
        descriptor: A directory that it inherits, and that the reference is about.
    """

    reference: Reference
    descriptor: int | None = None


@contextlib.asynccontextmanager
async def placed(
    reference: Reference, descriptor: int, scratch: Path, room: ArchiveRoom
) -> AsyncIterator[Place]:
    """Make a caller's source one that skopeo can open; a copy is removed on leaving.

    Args:
        reference: What the caller calls it, with the transport that it has.
        descriptor: The source; stays the caller's.
        scratch: A directory on disk, for a copy.
        room: The space that copies may take.

    Raises:
        InvalidArgument: The descriptor is of another kind, or it gives nothing more.
        NoSpace: There is no room for a copy.
    """
    if await _is_directory(descriptor):
        if reference.transport not in _DIRECTORIES:
            raise InvalidArgument(
                f"source-fd is a directory, but {reference.transport}: names an archive."
            )
        yield Place(replace(reference, repository=f"/proc/self/fd/{descriptor}"), descriptor)
        return
    async with scratch_directory(scratch) as directory:
        path = directory / "archive"
        with room.share() as share:
            await _copy(descriptor, path, share)
            yield Place(_archive(reference, path))


def _archive(reference: Reference, path: Path) -> Reference:
    if reference.transport in _DIRECTORIES:
        # An archive of one image out of a layout: which one is for its sender to say.
        return Reference("oci-archive", str(path), None, None)
    return replace(reference, repository=str(path))


async def _is_directory(descriptor: int) -> bool:
    copy = os.dup(descriptor)

    def look() -> bool:
        try:
            return stat.S_ISDIR(os.fstat(copy).st_mode)
        finally:
            os.close(copy)

    try:
        async with asyncio.timeout(_SECONDS):
            return await detached(look, "looks at a caller's descriptor")
    except TimeoutError:
        raise InvalidArgument(
            f"The file system of source-fd did not answer within {_SECONDS} seconds."
        ) from None


async def _copy(descriptor: int, path: Path, share: RoomShare) -> None:
    file = path.open("xb", buffering=0)

    def take(chunk: bytes) -> bool:
        share.take(len(chunk))
        file.write(chunk)
        return True

    try:
        async with patiently(_SECONDS, lambda: share.taken):
            await read_passed(descriptor, take, file)
    except TimeoutError:
        raise InvalidArgument(
            f"source-fd gave nothing for {_SECONDS} seconds. Close its other end when everything "
            "is sent."
        ) from None
    except UnsuitableDescriptor as problem:
        raise InvalidArgument(f"source-fd {problem}, or a directory.") from None
    except OSError as error:
        raise NoSpace(
            f"The archive could not be copied into the cache: {error.strerror}. Make room and try "
            "again."
        ) from error
