# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the sandboxed processes have in common: answering requests.

``service.workers.conversation`` is the service's end and describes the messages.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from virtlayer.worker.refusal import CpuLimitReached, Refused

_MESSAGE_LIMIT = 128 * 1024
_DESCRIPTORS_LIMIT = 4

type Answer = Callable[[dict[str, Any], list[int], socket.socket], dict[str, Any]]
"""Performs a request, and returns the reply. It removes the descriptors that it closes itself from
the request's list.
"""


def obey_cpu_limit() -> None:
    """Raise ``CpuLimitReached`` in the main thread when the processor time is used up."""
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
