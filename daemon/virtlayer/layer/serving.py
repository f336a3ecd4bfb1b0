# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the sandboxed processes have in common: answering requests, and reading a layer.

``conversation`` is the daemon's end and describes the messages.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from virtlayer.layer.archive import Archive, Entry
from virtlayer.layer.blob import BlobFile
from virtlayer.layer.limits import LayerLimits
from virtlayer.layer.problems import TooLarge
from virtlayer.layer.refusal import WRONG_DIGEST, CpuLimitReached, Refused
from virtlayer.layer.stream import LayerStream

_MESSAGE_LIMIT = 128 * 1024
_DESCRIPTORS_LIMIT = 3
_REPORT_INTERVAL = 0.05

type Answer = Callable[[dict[str, Any], list[int], socket.socket], dict[str, Any]]
"""Does what a request asks for; what it returns, the daemon is told.

Of the request's descriptors, it takes those out of the list that it closes itself.
"""


def obey_cpu_limit() -> None:
    """Have the end of the processor time raise ``CpuLimitReached`` in the main thread."""
    signal.signal(signal.SIGXCPU, _cpu_limit_reached)


def serve(answer: Answer) -> None:
    """Answer requests on standard input, which is a socket, until the daemon closes its end."""
    control = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_LIMIT, _DESCRIPTORS_LIMIT)
        if not message:
            return
        try:
            reply: dict[str, Any] = {"done": answer(json.loads(message), descriptors, control)}
        except Refused as refused:
            reply = {"error": refused.error, "problem": refused.problem}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        control.send(json.dumps(reply).encode())


def _cpu_limit_reached(*_: object) -> NoReturn:
    raise CpuLimitReached


class LayerReading:
    """The reading of the layer of one request, with reports to the daemon.

    Args:
        request: The fields of ``session.LayerRequest``, and the limits.
        control: Where the reports go.
    """

    def __init__(self, request: dict[str, Any], control: socket.socket) -> None:
        self.limits = LayerLimits(**request["limits"])
        self.name = b""
        """The entry that is being used."""
        self._diff_id: str = request["diff_id"]
        self._control = control
        self._reported = 0.0

    def read(self, blob: BlobFile, use: Callable[[Entry, Archive], None]) -> int:
        """Use every entry of the layer; return their number.

        Args:
            blob: The blob, at its beginning.
            use: Called with each entry, and with the archive that its content is in.

        Raises:
            Refused: The archive is not the one that the diff_id names.
            LayerProblem: It breaks its format, or a limit; and what ``use`` raises.
            BrokenStream: The compressed bytes are damaged.
            StreamTooLong: The archive has too many bytes.
        """
        algorithm, expected = self._diff_id.split(":", 1)
        with LayerStream(blob, algorithm, self.limits.bytes, self._report) as stream:
            count = self._use_entries(Archive(stream, self.limits), use)
            stream.drain()
            if stream.hexdigest() != expected:
                raise Refused(
                    WRONG_DIGEST,
                    f"unpacks to {algorithm}:{stream.hexdigest()}, "
                    f"but the image's configuration promises {self._diff_id}",
                )
        return count

    def _use_entries(self, archive: Archive, use: Callable[[Entry, Archive], None]) -> int:
        count = 0
        for entry in archive.entries():
            self.name = entry.name
            count += 1
            if count > self.limits.entries:
                raise TooLarge(f"more than {self.limits.entries} entries")
            use(entry, archive)
        return count

    def _report(self, consumed: int) -> None:
        """Tell the daemon how much of the blob has been read, twenty times a second at most."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL:
            self._reported = now
            self._control.send(json.dumps({"consumed": consumed}).encode())
