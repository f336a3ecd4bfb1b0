# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file system of the volume that was written last, for the layer that goes on top of it.

A job's layers come one after the other, and the next volume is an overlay on the one before. To
open its file system would be to read again what has just been written.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from virtlayer.layer.ext4.filesystem import Ext4Filesystem


class KeptFilesystem:
    """Keeps one file system between two requests."""

    def __init__(self) -> None:
        self._filesystem: Ext4Filesystem | None = None
        self._content = ""

    @contextlib.contextmanager
    def used(
        self,
        device: socket.socket,
        base: str | None,
        result: str | None,
        open_anew: Callable[[socket.socket], Ext4Filesystem],
    ) -> Iterator[Ext4Filesystem]:
        """A file system to write a layer to, which is finished in the context.

        Args:
            device: Connected to the NBD server of its volume; taken over.
            base: A name for what the volume holds. If the last context left that, its file system
                is used again. None if there is no name for it.
            result: A name for what it will hold after the context. None if there is none.
            open_anew: Otherwise opens or makes the file system.

        Raises:
            Ext4Error: It could not be opened, or the server failed.
        """
        last, self._filesystem = self._filesystem, None
        with contextlib.ExitStack() as stack:
            if last is not None:
                stack.enter_context(last)
            if last is not None and base is not None and base == self._content:
                last.go_on(device)
                filesystem = last
            else:
                stack.close()
                filesystem = stack.enter_context(open_anew(device))
            yield filesystem
            filesystem.leave()
            if result is not None:
                stack.pop_all()
                self._filesystem, self._content = filesystem, result

    def forget(self) -> None:
        """Let what is kept go."""
        if self._filesystem is not None:
            with self._filesystem:
                self._filesystem = None
