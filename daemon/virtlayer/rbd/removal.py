# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes an image that nothing uses, which can take minutes: object by object."""

import time
from typing import Any

from virtlayer.rbd.binding import rbd


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
