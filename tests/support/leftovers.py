# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test must not leave in this process: descriptors and children."""

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 5.0
"""Seconds for what ends by itself, such as the threads of a closed connection."""


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if there are descriptors or children afterwards that were not there before."""
    before = _descriptors(), children()
    yield
    gc.collect()
    deadline = time.monotonic() + _PATIENCE
    while True:
        left = _new(before[0], _descriptors()), children() - before[1]
        if not any(left) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not left[0], f"open descriptors: {left[0]}"
    assert not left[1], f"children: {left[1]}"


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            pids.update(map(int, (task / "children").read_text().split()))
    return pids


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(entry.name)] = str(entry.readlink())
    return found


def _new(before: dict[int, str], after: dict[int, str]) -> dict[int, str]:
    own = f"/proc/{os.getpid()}/fd"
    # libvirt's event loop, once started, stays for the life of the process.
    return {
        number: target
        for number, target in after.items()
        if before.get(number) != target and target != own and not target.startswith("anon_inode:")
    }
