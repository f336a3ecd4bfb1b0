# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leak checks: descriptors (and with them locks), children, tasks, files."""

import asyncio
import contextlib
import gc
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import libvirt_host
from tests.support.pool_content import left_by_jobs
from tests.support.waiting import PATIENCE

_shared: set[int] = set()
"""Children that several tests share; their fixture ends them."""
_shared_descriptors: set[tuple[int, str]] = set()
"""Their open descriptors, as numbers and targets."""


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if there are descriptors or children afterwards that were not there before."""
    before = _descriptors(), children()
    yield
    left = _left(*before)
    if any(left):
        gc.collect()
    # Threads of a closed connection end by themselves, for instance.
    deadline = time.monotonic() + PATIENCE
    while any(left) and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _left(*before)
    assert not left[0], f"open descriptors: {left[0]}"
    assert not left[1], f"children: {left[1]}"


@contextlib.contextmanager
def shared_by_tests() -> Iterator[None]:
    """Allow what is started here to outlive the test that starts it."""
    before = _descriptors(), children()
    yield
    _shared_descriptors.update(_new(before[0], _descriptors()).items())
    _shared.update(children() - before[1])


@contextlib.contextmanager
def no_task_left() -> Iterator[None]:
    """Fail if there are tasks of this event loop afterwards that were not there before."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, f"tasks: {left}"


def assert_no_staging_left() -> None:
    """Fail if a pool of a running libvirtd has unfinished files of a job, and remove them."""
    left = [
        path
        for host in libvirt_host.running_hosts
        for pool in host.directory.glob("pools/*")
        for path in left_by_jobs(pool)
    ]
    # Otherwise the tests that follow would fail as well.
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not left, f"staging files: {[*map(str, left)]}"


def children() -> set[int]:
    """The processes that this one, or a keeper of its own, has started and not reaped."""
    own = children_of("self")
    return own.union(*(children_of(pid) for pid in own if is_keeper(pid)))


def programs_of(process: int) -> set[int]:
    """The children of a service, without its keeper, and those of its keeper."""
    own = children_of(process)
    keepers = {pid for pid in own if is_keeper(pid)}
    return (own - keepers).union(*map(children_of, keepers))


def children_of(process: int | str) -> set[int]:
    """The processes that one has started and not reaped."""
    pids: set[int] = set()
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                pids.update(map(int, (task / "children").read_text().split()))
    return pids


def is_keeper(pid: int) -> bool:
    """Whether a process is a keeper that a service has started."""
    with contextlib.suppress(OSError):
        return b"\0virtlayer.keeper\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _left(descriptors: dict[int, str], processes: set[int]) -> tuple[dict[int, str], set[int]]:
    opened = _new(descriptors, _descriptors()).items() - _shared_descriptors
    return dict(opened), children() - processes - _shared


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
