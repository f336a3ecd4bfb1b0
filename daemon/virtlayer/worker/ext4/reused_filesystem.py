# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reuses the file system that was written last for the next layer, in it or on top of it.

A job's layers are applied one after the other. The next one goes into the same volume, which is
then simply not closed, or into an overlay on it: to open the file system of that would be to read
again what has just been written.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

from virtlayer.worker.ext4.filesystem import Ext4Filesystem


class Step(NamedTuple):
    """One layer that is applied to a volume, with names for the contents of the volume."""

    base: str | None
    """The content before the step. If it is what the last step left, the open file system is
    reused. None for no name."""
    result: str | None
    """The content after the step. None if it has no name, or no layer follows."""
    last: bool
    """Whether the volume is complete after the step."""


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
        """Provide a file system to write a layer to; the last layer of a volume finishes it.

        Args:
            device: Connected to the NBD server of its volume; taken over. None for the volume of
                the step before, which was not its last.
            step: The step.
            open_anew: Opens or makes the file system if none can be reused.

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
