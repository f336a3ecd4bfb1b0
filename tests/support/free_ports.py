# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ports of loopback for programs that must be told theirs before they listen.

The kernel gives the end of a connection a port of a range of its own. None of that range is taken
here: until the program listens, a connection of another test could have it.
"""

import contextlib
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_NUMBER = 10_000
_ATTEMPTS = 100
_random = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, for TCP; never the same twice."""
    first = int(_RANGE.read_text().split()[0])
    for _ in range(_ATTEMPTS):
        port = _random.randrange(first - _NUMBER, first)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As a server that is started again on its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise AssertionError(f"no free port below {first}")
