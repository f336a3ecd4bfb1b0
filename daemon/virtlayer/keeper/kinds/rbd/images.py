# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes the images of an RBD pool as volumes, without asking libvirt."""

import hashlib
import itertools
from collections.abc import Collection
from pathlib import Path

from virtlayer.keeper.kinds.rbd.processes import RbdProcess
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import FileStamp
from virtlayer.protocol.pools import Pool, Volume

_AT_A_TIME = 2000
"""Names in one request, which has a limit."""
_FORMAT = "raw"


async def find_images(
    process: RbdProcess, names: Collection[str] | None, *, measure: bool = False
) -> list[rbd.RbdImage]:
    """Find images of the process's pool.

    Args:
        process: The process.
        names: Their names; None for all. Those that do not exist are left out.
        measure: Whether their allocation is needed.
    """
    if names is None:
        request = rbd.FindImages(None, measure)
        return list((await process.ask(rbd.FIND_IMAGES, request)).images)
    found: list[rbd.RbdImage] = []
    # No image of ours begins with a dot.
    wanted = [name for name in names if not name.startswith(".")]
    for some in itertools.batched(wanted, _AT_A_TIME):
        found += (await process.ask(rbd.FIND_IMAGES, rbd.FindImages(some, measure))).images
    return found


def volume_of(pool: Pool, image: rbd.RbdImage) -> Volume:
    """Describe an image as a volume of its pool."""
    return Volume(
        name=image.name,
        path=image_path(pool, image.name),
        format=_FORMAT,
        capacity=image.size,
        allocation=image.allocation,
        backing_path=image_path(pool, image.parent) if image.parent else None,
        backing_format=_FORMAT if image.parent else None,
    )


def image_path(pool: Pool, name: str) -> Path:
    """POOL/IMAGE; the name of an image of another program can have slashes."""
    return Path(f"{pool.path}/{name}")


def stamp_of(image: rbd.RbdImage) -> FileStamp:
    """What identifies an image, whatever its name."""
    return FileStamp(image_number(image), 0)


def image_number(image: rbd.RbdImage) -> int:
    """A number in the place of a file's inode. Ids are texts of no fixed form."""
    return int.from_bytes(hashlib.sha256(image.id.encode()).digest()[:6])
