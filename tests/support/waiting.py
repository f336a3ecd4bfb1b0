# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits for what other threads and processes do, where there is no event to wait for."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0
"""Seconds after which a test that waits fails. A busy machine needs a part of it at most."""
_PAUSE = 0.002


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(_PAUSE)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so, in a test or thread without an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s"
        time.sleep(_PAUSE)


async def eventually(check: Callable[[], None]) -> None:
    """Repeat assertions until they hold; at the end, their failure is that of the test."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return check()
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE)


def stop(pid: int) -> None:
    """Stop all threads of a process. When kill(2) returns, they can still run for a while."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state in "TZX" for state in _states(pid)))


def wait_until_closed() -> None:
    """Return when every descriptor is closed that a thread was to close."""
    for thread in threading.enumerate():
        if thread.name == "closes descriptors":
            thread.join()


def _states(pid: int) -> list[str]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return found
