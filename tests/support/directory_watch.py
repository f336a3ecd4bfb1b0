# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often each name appeared in a directory, made by any process (inotify(7))."""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_CREATED, _MOVED_HERE, _OVERFLOW = 0x100, 0x80, 0x4000
_EVENT = struct.Struct("iIII")
_BUFFER = 65536


@contextlib.contextmanager
def arrivals(directory: Path) -> Iterator[Counter[str]]:
    """Count the names that are made in a directory; a running event loop does it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0
    found: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    try:
        path = os.fsencode(directory)
        assert libc.inotify_add_watch(descriptor, path, _CREATED | _MOVED_HERE) >= 0
        loop.add_reader(descriptor, _count, descriptor, found)
        yield found
        _count(descriptor, found)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _count(descriptor: int, found: Counter[str]) -> None:
    with contextlib.suppress(BlockingIOError):
        while content := os.read(descriptor, _BUFFER):
            position = 0
            while position < len(content):
                _, mask, _, length = _EVENT.unpack_from(content, position)
                assert not mask & _OVERFLOW
                position += _EVENT.size
                found[os.fsdecode(content[position : position + length].rstrip(b"\0"))] += 1
                position += length
