# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copies an archive that a caller passes by a descriptor, as a local source.

The archive is copied, because it must not change while skopeo reads it. A directory is rejected,
because its files would be read with the permissions of the service. An O_PATH descriptor needs no
read permission, and a caller can mount any directory of the host below it in its own mount
namespace.
"""

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from virtlayer.errors import InvalidArgument, NoSpace
from virtlayer.service.source.passed_descriptor import UnsuitableDescriptor, read_passed
from virtlayer.service.source.patience import patiently
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.scratch import scratch_directory
from virtlayer.sizes import human_size

_SECONDS = 10
"""The timeout without progress."""
_DIRECTORIES = ("oci", "dir")
"""Transports whose images are directories."""


class ArchiveRoom:
    """The space for copies of callers' archives, and for files that skopeo makes of sources.

    Args:
        limit: The most bytes that all copies and files together may use.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def share(self) -> Iterator["RoomShare"]:
        """Provide the space for one source; it is released on exit."""
        share = RoomShare(self)
        try:
            yield share
        finally:
            with self._lock:
                share.over = True
                self._taken -= share.taken

    def take(self, share: "RoomShare", length: int) -> None:
        """Reserve more space.

        Raises:
            NoSpace: There is not enough space.
        """
        with self._lock:
            if share.over or self._taken + length > self.limit:
                raise NoSpace(
                    "Cannot copy or unpack this source: all such sources together may have "
                    f"{human_size(self.limit)} (cache.archives-limit in virtlayerd.toml)."
                )
            self._taken += length
            share.taken += length


class RoomShare:
    """The space that one source uses."""

    def __init__(self, room: ArchiveRoom) -> None:
        self._room = room
        self.taken = 0
        self._unpacked = 0
        self._lock = threading.Lock()
        self.over = False

    @property
    def limit(self) -> int:
        """The most bytes that a source can use."""
        return self._room.limit

    def unpack(self, size: int) -> None:
        """Reserve space for the files that skopeo has made of the source; the largest size counts.

        Args:
            size: The present size of the files in bytes.

        Raises:
            NoSpace: There is not enough space.
        """
        with self._lock:
            if size > self._unpacked:
                self.take(size - self._unpacked)
                self._unpacked = size

    def take(self, length: int) -> None:
        """Reserve more space.

        Raises:
            NoSpace: There is not enough space.
        """
        self._room.take(self, length)


@contextlib.asynccontextmanager
async def copied(
    reference: Reference, descriptor: int, scratch: Path, share: RoomShare
) -> AsyncIterator[Reference]:
    """Copy a caller's archive to where skopeo can open it; the copy is removed on leaving.

    Args:
        reference: The reference of the caller, with the transport of the archive.
        descriptor: The archive; the caller closes it.
        scratch: A directory on disk, for the copy.
        share: The space that the source uses.

    Yields:
        The reference that skopeo opens.

    Raises:
        InvalidArgument: The descriptor cannot be read, or does not provide its data in time.
        NoSpace: There is not enough space for a copy.
    """
    async with scratch_directory(scratch) as directory:
        path = directory / "archive"
        await _copy(descriptor, path, share)
        yield _archive(reference, path)


def _archive(reference: Reference, path: Path) -> Reference:
    if reference.transport in _DIRECTORIES:
        # The archive contains one image of a layout, which the sender selects.
        return Reference("oci-archive", str(path), None, None)
    return replace(reference, repository=str(path))


async def _copy(descriptor: int, path: Path, share: RoomShare) -> None:
    file = path.open("xb", buffering=0)

    def take(chunk: bytes) -> bool:
        share.take(len(chunk))
        try:
            if file.write(chunk) == len(chunk):
                return True
        except OSError as error:
            raise _no_room(error.strerror) from error
        raise _no_room("the disk is full")

    try:
        async with patiently(_SECONDS, lambda: share.taken):
            await read_passed(descriptor, take, file)
    except TimeoutError:
        raise InvalidArgument(
            f'The option "source-fd" gave no data for {_SECONDS} seconds. Close its other end when '
            "everything is sent."
        ) from None
    except UnsuitableDescriptor as problem:
        raise InvalidArgument(
            f'The option "source-fd" {problem}. Send a directory as an oci-archive through a pipe.'
        ) from None
    except OSError as error:
        raise InvalidArgument(
            f'The option "source-fd" cannot be read: {error.strerror}.'
        ) from error


def _no_room(cause: str | None) -> NoSpace:
    return NoSpace(
        f"Cannot copy the archive into the blob cache: {cause}. Free some space there, then try "
        "again."
    )
