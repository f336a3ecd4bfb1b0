# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file system that was written last, for the layer that comes into it or on top of it.

A job's layers come one after the other. The next one goes into the same volume, which is then
simply not closed, or into an overlay on it: to open the file system of that would be to read again
what has just been written.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

from virtlayer.worker.ext4.filesystem import Ext4Filesystem


class Step(NamedTuple):
    """What one layer does to a volume, by names for what the volume holds."""

    base: str | None
    """Before it. If the last step left that, its file system is used again. None for no name."""
    result: str | None
    """After it. None if there is no name, or no layer will follow."""
    last: bool
    """Whether the volume is complete then."""


class KeptFilesystem:
    """Keeps one file system between two requests."""

    def __init__(self) -> None:
        self._filesystem: Ext4Filesystem | None = None
        self._content: str | None = None

    @contextlib.contextmanager
    def used(
        self,
        device: socket.socket | None,
        step: Step,
        open_anew: Callable[[socket.socket], Ext4Filesystem],
    ) -> Iterator[Ext4Filesystem]:
        """A file system to write a layer to; with the last of a volume, it is finished there.

        Args:
            device: Connected to the NBD server of its volume; taken over. None for the volume of
                the step before, which was not its last.
            step: What is done.
            open_anew: Opens or makes the file system where none can be used again.

        Raises:
            Ext4Error: It could not be opened, or the server failed.
        """
        kept, self._filesystem = self._filesystem, None
        with contextlib.ExitStack() as stack:
            if kept is not None:
                stack.enter_context(kept)
            if device is None:
                assert kept is not None, "the layer before was not the last of its volume"
                filesystem = kept
            elif kept is not None and step.base is not None and step.base == self._content:
                kept.go_on(device)
                filesystem = kept
            else:
                stack.close()
                filesystem = stack.enter_context(open_anew(device))
            yield filesystem
            if step.last:
                filesystem.leave()
            if step.result is not None or not step.last:
                stack.pop_all()
                self._filesystem = filesystem
                self._content = step.result if step.last else None
