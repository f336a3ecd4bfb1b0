# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that writes file systems: the only one that reads what strangers wrote.

It starts with one descriptor, a socket to the daemon as its standard input. A request comes with
a connection to the NBD server of the volume and, where it is a layer, the blob. ``session`` is
the daemon's end and describes the messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from virtlayer.layer.apply import LayerApplication
from virtlayer.layer.archive import Archive
from virtlayer.layer.customize.serve import serve_customization
from virtlayer.layer.ext4.filesystem import Ext4Filesystem
from virtlayer.layer.limits import LayerLimits
from virtlayer.layer.problems import TooLarge
from virtlayer.layer.refusal import STOPS, WRONG_DIGEST, CpuLimitReached, Refused, refusal
from virtlayer.layer.sandbox.enter import Limits, enter_sandbox
from virtlayer.layer.stream import LayerStream

MESSAGE_LIMIT = 128 * 1024
_REPORT_INTERVAL = 0.05


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    signal.signal(signal.SIGXCPU, _cpu_limit_reached)
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    control = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_LIMIT, 2)
        if not message:
            return
        try:
            reply: dict[str, Any] = {"done": _serve(json.loads(message), descriptors, control)}
        except Refused as refused:
            reply = {"error": refused.error, "problem": refused.problem}
        control.send(json.dumps(reply).encode())


def _serve(
    request: dict[str, Any], descriptors: list[int], control: socket.socket
) -> dict[str, int]:
    *blobs, device = descriptors
    connection = socket.socket(fileno=device)
    try:
        if "customization" in request:
            return serve_customization(request["customization"], connection)
        [blob] = blobs
        return _Application(request, control).run(blob, connection)
    finally:
        for blob in blobs:
            os.close(blob)


def _cpu_limit_reached(*_: object) -> NoReturn:
    raise CpuLimitReached


class _Application:
    """The application of the layer of one request."""

    def __init__(self, request: dict[str, Any], control: socket.socket) -> None:
        self._request = request
        self._limits = LayerLimits(**request["limits"])
        self._control = control
        self._reported = 0.0
        self._name = b""
        """The entry that is being applied."""

    def run(self, blob: int, device: socket.socket) -> dict[str, int]:
        """Apply the layer; what the daemon is told when it is done.

        Raises:
            Refused: It cannot be applied.
        """
        try:
            return self._run(blob, device)
        except STOPS as error:
            raise refusal(error, self._name, None) from error

    def _run(self, blob: int, device: socket.socket) -> dict[str, int]:
        request = self._request
        algorithm, expected = request["diff_id"].split(":", 1)
        with contextlib.ExitStack() as stack:
            filesystem = stack.enter_context(self._opened(device))
            stream = stack.enter_context(
                LayerStream(blob, algorithm, self._limits.bytes, self._report)
            )
            try:
                entries = self._apply(filesystem, stream)
                if stream.hexdigest() != expected:
                    raise Refused(
                        WRONG_DIGEST,
                        f"unpacks to {algorithm}:{stream.hexdigest()}, "
                        f"but the image's configuration promises {request['diff_id']}",
                    )
                filesystem.finish()
            except STOPS as error:
                # While the file system is there to ask it how full it is.
                raise refusal(error, self._name, filesystem) from error
            return {"entries": entries, "free_bytes": filesystem.free_bytes}

    def _opened(self, device: socket.socket) -> Ext4Filesystem:
        size = self._request["format_size"]
        if size is None:
            return Ext4Filesystem.opened(device)
        return Ext4Filesystem.formatted(device, size, self._request["diff_id"])

    def _apply(self, filesystem: Ext4Filesystem, stream: LayerStream) -> int:
        """Apply every entry; the number of them."""
        archive = Archive(stream, self._limits)
        application = LayerApplication(filesystem, self._limits)
        count = 0
        for entry in archive.entries():
            self._name = entry.name
            count += 1
            if count > self._limits.entries:
                raise TooLarge(f"more than {self._limits.entries} entries")
            application.apply(entry, archive)
        stream.drain()
        return count

    def _report(self, consumed: int) -> None:
        """Tell the daemon how much of the blob has been read, twenty times a second at most."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL:
            self._reported = now
            self._control.send(json.dumps({"consumed": consumed}).encode())


if __name__ == "__main__":
    main()
