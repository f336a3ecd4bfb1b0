# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that reads the headers of image files.

It starts with a socket to the keeper as its standard input; ``protocol.image_headers`` describes
the messages. It opens nothing: the keeper passes the files that are to be read.
"""

from __future__ import annotations

import os
import socket
import sys

from virtlayer.protocol.image_formats import read_header
from virtlayer.protocol.image_headers import BATCH
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox

_REQUEST_LIMIT = 16
_OWN_DESCRIPTORS = 16


def main() -> None:
    """Answer requests until the keeper closes its end."""
    memory, cpu_seconds = map(int, sys.argv[1:])
    control = socket.socket(fileno=0)
    limits = Limits(memory, cpu_seconds, descriptors=_OWN_DESCRIPTORS + BATCH)
    enter_sandbox(limits, more=[("pread64",)])
    while True:
        request, files, _, _ = socket.recv_fds(control, _REQUEST_LIMIT, BATCH)
        if not request:
            return
        for file in files:
            control.send(read_header(file).packet())
            os.close(file)


if __name__ == "__main__":
    main()
