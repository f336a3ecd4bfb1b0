# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that a killed process leaves behind, found by making this process their reaper."""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.leftovers import children
from tests.support.waiting import PATIENCE

_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of every descendant whose parent dies (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


def wait_until_only(known: set[int]) -> None:
    """Wait until this process has no other children than these, and reap what was adopted."""
    deadline = time.monotonic() + PATIENCE
    while strangers := children() - known:
        for pid in strangers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        assert time.monotonic() < deadline, f"still running: {[*map(_described, strangers)]}"
        time.sleep(0.005)


def _described(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return str(pid)
