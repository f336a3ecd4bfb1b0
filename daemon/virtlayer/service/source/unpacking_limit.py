# SPDX-License-Identifier: LGPL-2.1-or-later
"""A size limit for the files that skopeo unpacks or converts.

skopeo unpacks an oci-archive, compressed or not, and copies the blobs of old images. A small
source can therefore produce any number of files. The kernel limits only the size of each single
file, so this module measures all of them at intervals.
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
"""The time between two measurements."""
_SMALLEST = 4096
"""The minimum size of a file or directory in the sum: many empty files use space as well."""


@contextlib.asynccontextmanager
async def limited(directory: Path, share: RoomShare) -> AsyncIterator[None]:
    """Cancel the body of the context when a directory uses more space than is free.

    Args:
        directory: Where skopeo writes.
        share: The share of the space that is charged.

    Raises:
        NoSpace: There was not enough space.
        MalformedLayer: It cannot be measured: an archive contains unreadable directories.
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
    # The body may have ended before the first measurement.
    await asyncio.to_thread(_count, directory, share)


def _count(directory: Path, share: RoomShare) -> None:
    share.unpack(_used(directory))


def _used(directory: Path) -> int:
    """Return the disk usage of everything below a directory in bytes."""
    used = 0
    for parent, directories, files in os.walk(directory, onerror=_refuse_closed):
        for name in (*directories, *files):
            # skopeo creates and removes files meanwhile.
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
