# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that writes file systems: the only one that reads what strangers wrote.

It starts with one descriptor, a socket to the daemon as its standard input. A request comes with
a connection to the NBD server of the volume and, where it is a layer, the blob, which may still be
arriving. ``session`` is the daemon's end and describes the messages.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

from virtlayer.layer.apply import LayerApplication
from virtlayer.layer.blob import ArrivingBlobFile, BlobFile
from virtlayer.layer.customize.serve import serve_customization
from virtlayer.layer.ext4.filesystem import Ext4Filesystem
from virtlayer.layer.refusal import STOPS, refusal
from virtlayer.layer.sandbox.enter import Limits, enter_sandbox
from virtlayer.layer.serving import LayerReading, obey_cpu_limit, serve


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    serve(_Volumes().answer)


class _Volumes:
    """Answers requests; a volume stays open until its last layer is in it."""

    def __init__(self) -> None:
        self._filesystem: Ext4Filesystem | None = None

    def answer(
        self, request: dict[str, Any], descriptors: list[int], control: socket.socket
    ) -> dict[str, int]:
        """Do what a request asks for; see ``serving.Answer``."""
        if "customization" in request:
            connection = socket.socket(fileno=descriptors.pop())
            return serve_customization(request["customization"], connection)
        device = None if request["continues"] else socket.socket(fileno=descriptors.pop())
        blob = ArrivingBlobFile(*descriptors)
        try:
            with contextlib.ExitStack() as volume:
                filesystem = volume.enter_context(self._volume(request, device))
                done = _apply(request, blob, filesystem, LayerReading(request, control))
                if not request["last"]:
                    self._filesystem = filesystem
                    volume.pop_all()
                return done
        except STOPS as error:
            raise refusal(error, b"", None) from error

    def _volume(self, request: dict[str, Any], device: socket.socket | None) -> Ext4Filesystem:
        filesystem, self._filesystem = self._filesystem, None
        if device is not None:
            return _opened(device, request["format_size"], request["diff_id"])
        assert filesystem is not None, "the layer before was not the last of its volume"
        return filesystem


def _apply(
    request: dict[str, Any], blob: BlobFile, filesystem: Ext4Filesystem, layer: LayerReading
) -> dict[str, int]:
    """Apply a layer; what the daemon is told when it is done.

    Raises:
        Refused: It cannot be applied.
    """
    try:
        entries = layer.read(blob, LayerApplication(filesystem, layer.limits).apply)
        if request["last"]:
            filesystem.finish()
    except STOPS as error:
        # While the file system is there to ask it how full it is.
        raise refusal(error, layer.name, filesystem) from error
    return {"entries": entries, "free_bytes": filesystem.free_bytes}


def _opened(device: socket.socket, format_size: int | None, identity: str) -> Ext4Filesystem:
    if format_size is None:
        return Ext4Filesystem.opened(device)
    return Ext4Filesystem.formatted(device, format_size, identity)


if __name__ == "__main__":
    main()
