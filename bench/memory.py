# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peak memory of the service, its keeper and its workers (proc_pid_status(5), VmRSS and VmHWM)."""

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.leftovers import children_of, is_keeper

_WORKER = b"virtlayer.worker.ext4.worker"
_INTERVAL = 0.1
"""Seconds. A look takes a millisecond of processor time, which what is measured has not then."""


class MemoryWatch:
    """Looks at a daemon and its workers as long as the context lasts.

    Args:
        daemon: The process id.
    """

    def __init__(self, daemon: int) -> None:
        self._daemon = daemon
        self._daemon_peak = self._keeper_peak = self._workers_peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def peaks(self) -> dict[str, float]:
        """Bytes: the daemon's peak, its keeper's, and that of all its workers together."""
        return {
            "daemon": self._daemon_peak,
            "keeper": self._keeper_peak,
            "workers": self._workers_peak,
        }

    def _look_again_and_again(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._look()

    def _look(self) -> None:
        self._daemon_peak = max(self._daemon_peak, resident(self._daemon))
        self._keeper_peak = max(self._keeper_peak, *map(resident, keepers_of(self._daemon)), 0)
        workers = sum(resident(pid, "VmHWM") for pid in _descendants(self._daemon) if _works(pid))
        self._workers_peak = max(self._workers_peak, workers)


def keepers_of(daemon: int) -> list[int]:
    """The keeper that a daemon has started, if it runs."""
    return [pid for pid in children_of(daemon) if is_keeper(pid)]


def resident(pid: int, field: str = "VmRSS") -> int:
    """Resident memory of a process in bytes; 0 if it is gone."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) * 1024
    return 0


def _works(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))
