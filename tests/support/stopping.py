# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stops a process so that it does nothing more."""

import contextlib
import os
import signal
import time
from pathlib import Path

_PATIENCE = 60.0


def stop(pid: int) -> None:
    """Stop all threads of a process. When kill(2) returns, they can still run for a while."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _PATIENCE
    while not all(state in "TZX" for state in _states(pid)):
        assert time.monotonic() < deadline, f"the process {pid} does not stop: {_states(pid)}"
        time.sleep(0.001)


def _states(pid: int) -> list[str]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return found
