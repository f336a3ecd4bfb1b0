# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes images that nothing uses, which can take minutes: object by object."""

import time
from typing import Any

from virtlayer.rbd.binding import rbd
from virtlayer.rbd.names import LAYER_SNAPSHOT


class Progress:
    """When the cluster last did a part of a long operation."""

    def __init__(self) -> None:
        self.last = 0.0
        """By the monotonic clock, in seconds."""

    def made(self, *_parts: int) -> int:
        """Note that it has just done a part; return 0, which lets librbd continue."""
        self.last = time.monotonic()
        return 0


PROGRESS = Progress()
"""That of this process, which has one cluster."""


def remove_image(images: Any, name: str) -> None:
    """Remove an image; blocks.

    Args:
        images: The pool's I/O context.
        name: Its name.

    Raises:
        rbd.ImageBusy: A client has it open.
        rbd.ImageHasSnapshots: It has snapshots.
        rbd.Error: The cluster does not answer, or refuses it.
    """
    rbd.RBD().remove(images, name, on_progress=PROGRESS.made)


def remove_unfinished(images: Any, name: str) -> bool:
    """Remove an unfinished image, unless something uses it: clones, other snapshots, clients.

    Args:
        images: The pool's I/O context.
        name: Its name.

    Returns:
        Whether it no longer exists.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    try:
        with rbd.Image(images, name) as image:
            snapshots = [
                snapshot["name"]
                for snapshot in image.list_snaps()
                if snapshot["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER
            ]
            # One of the watchers is this process.
            has_clients = len(list(image.watchers_list())) > 1
            if has_clients or any(image.list_children2()) or {*snapshots} - {LAYER_SNAPSHOT}:
                return False
            for snapshot in snapshots:
                image.remove_snap(snapshot)
        remove_image(images, name)
    except rbd.ImageNotFound:
        return True
    except (rbd.ImageBusy, rbd.ImageHasSnapshots):
        return False
    return True
