# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that decompresses one blob to a pipe.

It reads no archive and no file system, and its result is not trusted: the service hashes what comes
out of the pipe. A request comes with the blob and the writing end of that pipe.
``service.workers.unpacking`` is the other end.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from virtlayer.worker.archive.stream import unpacked
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.refusal import STOPS, refusal
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.serving import obey_cpu_limit, serve


def main() -> None:
    """Serve requests until the service closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    obey_cpu_limit()
    # Everything is imported and loaded by now: no file can be opened from here on.
    enter_sandbox(Limits(memory=memory, cpu_seconds=cpu_seconds))
    serve(_answer)


def _answer(
    _request: dict[str, Any], descriptors: list[int], _control: socket.socket
) -> dict[str, Any]:
    blob, output = descriptors
    try:
        for piece in unpacked(BlobReader(blob)):
            _write_all(output, memoryview(piece))
    except STOPS as error:
        raise refusal(error) from error
    return {}


def _write_all(output: int, data: memoryview) -> None:
    while data:
        data = data[os.write(output, data) :]


if __name__ == "__main__":
    main()
