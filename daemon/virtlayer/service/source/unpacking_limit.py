# SPDX-License-Identifier: LGPL-2.1-or-later
"""A limit for what skopeo unpacks or converts.

skopeo unpacks an oci-archive, compressed or not, and copies the blobs of old images. A small
source can so become any number of files. The kernel limits the size of each of them alone, so this
looks at all of them from time to time.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from virtlayer.cancellation import meanwhile
from virtlayer.errors import MalformedLayer, VirtlayerError
from virtlayer.service.source.caller_source import RoomShare

_SECONDS = 0.2
"""Between two looks."""
_SMALLEST = 4096
"""Bytes that a file or directory counts at least: many empty ones take space as well."""


@contextlib.asynccontextmanager
async def limited(directory: Path, share: RoomShare) -> AsyncIterator[None]:
    """End what happens in the context when a directory takes more room than there is.

    Args:
        directory: Where skopeo writes.
        share: Takes the room, until it is given back.

    Raises:
        NoSpace: There was no room.
        MalformedLayer: It cannot be examined, because an archive has closed directories.
    """
    problem: VirtlayerError | None = None
    deadline = asyncio.timeout(None)

    async def watch() -> None:
        nonlocal problem
        while problem is None:
            await asyncio.sleep(_SECONDS)
            try:
                await asyncio.to_thread(_count, directory, share)
            except VirtlayerError as error:
                problem = error
        if not deadline.expired():
            deadline.reschedule(0)

    try:
        async with deadline, meanwhile(watch()):
            yield
    except TimeoutError:
        if problem is not None:
            raise problem from None
        raise
    # It may have been too quick for a look.
    await asyncio.to_thread(_count, directory, share)


def _count(directory: Path, share: RoomShare) -> None:
    share.unpack(_used(directory))


def _used(directory: Path) -> int:
    """Bytes that everything below a directory takes on disk."""
    used = 0
    for parent, directories, files in os.walk(directory, onerror=_refuse_closed):
        for name in (*directories, *files):
            # skopeo writes and removes files meanwhile.
            with contextlib.suppress(FileNotFoundError):
                status = Path(parent, name).lstat()
                used += max(status.st_blocks * 512, _SMALLEST)
    return used


def _refuse_closed(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise MalformedLayer(
            "The archive has directories that cannot be read. Create it again with mode 755 for "
            "directories."
        )
