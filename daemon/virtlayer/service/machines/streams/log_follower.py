# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a log file of a machine at a position of its own, while it grows and is rotated.

virtlogd renames a file of 2 MiB to ``.0``, and that to ``.1``, and so on; it then creates a new
one. A file that was renamed is open here, so it is read to its end, and found among the renamed
ones to know which files follow. inotify(7) reports what happens to the newest one.
"""

import asyncio
import contextlib
import os
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from virtlayer.cancellation import to_completion
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol.domains import Port
from virtlayer.service.keeper.domains import Domains, OpenedLog
from virtlayer.service.readiness import readable

_CHUNK = 64 * 1024
_EVENTS = 64 * 1024
_EVENT = struct.Struct("iIII")
_GROWN = 0x2
"""IN_MODIFY; after other events, the name may stand for another file."""
_ATTEMPTS = 5
"""How often the keeper is asked before its error is the caller's."""
_LOOK_SECONDS = 0.2
"""The interval to look for a file that does not exist, for a moment: virtlogd has just renamed the
last one, or libvirt starts the machine. No event reports that."""


@dataclass(frozen=True, slots=True)
class _Newer:
    """Files that are newer than a known one.

    Attributes:
        logs: The files, the newest last.
        found: The number of renamings of the known one; None if it was not found.
    """

    logs: deque[OpenedLog]
    found: int | None


class LogFollower:
    """Reads one log of one machine; made with ``opened``.

    Args:
        domains: Opens the files.
        uuid: The machine.
        port: Which log.
    """

    def __init__(self, domains: Domains, uuid: str, port: Port) -> None:
        self._domains = domains
        self._uuid = uuid
        self._port = port
        self._logs: deque[OpenedLog] = deque()
        """The file that is being read, and those that follow it."""
        self._position = 0
        self._is_name_known = False
        """Whether the newest file has the log's name, unless an event reports otherwise. Of a file
        that was just opened, that is not known: it was watched a moment later."""
        self._is_gap = False
        """Whether files are missing after the one that is being read."""
        self.begins_within = False
        """Whether it begins within the output, perhaps within a record."""

    async def open(self, tail: int | None) -> None:
        """Open the files that exist, and begin.

        Args:
            tail: Begin with so many last bytes; None for everything.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        self._add((await self._newer_than(None)).logs)
        sizes = [os.fstat(log.file).st_size for log in self._logs]
        skipped = 0 if tail is None else max(0, sum(sizes) - tail)
        self.begins_within = skipped > 0 or len(sizes) > 1
        for size in sizes[:-1]:
            if skipped < size:
                break
            skipped -= size
            self._logs.popleft().close()
        self._position = skipped

    def close(self) -> None:
        """Close the files."""
        while self._logs:
            self._logs.pop().close()

    @property
    def exists(self) -> bool:
        """Whether there was a file."""
        return bool(self._logs)

    async def read(self) -> bytes | None:
        """Return the next bytes.

        Returns:
            No bytes at the end of what there is, for now; None where bytes are missing.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        if not self._logs:
            self._add((await self._newer_than(None)).logs)
        while self._logs:
            chunk = await self._read_first()
            if chunk or chunk is None:
                return chunk
            if len(self._logs) > 1:
                self._logs.popleft().close()
                self._position = 0
                if self._is_gap:
                    self._is_gap = False
                    return None
            # If another file has the name now, what was written before is read first.
            elif self._is_name_known or not await self._find_next():
                return b""
        return b""

    async def changed(self) -> None:
        """Wait until there may be something to read."""
        if not self._logs or not self._is_name_known:
            await asyncio.sleep(_LOOK_SECONDS)
            return
        watcher = self._logs[-1].watcher
        await readable(watcher)
        with contextlib.suppress(BlockingIOError):
            self._is_name_known = _has_only_grown(os.read(watcher, _EVENTS))

    def _add(self, newer: Iterable[OpenedLog]) -> None:
        self._logs += newer
        # Only the newest file grows.
        for log in islice(self._logs, max(0, len(self._logs) - 1)):
            log.stop_watching()

    async def _read_first(self) -> bytes | None:
        file = self._logs[0].file
        chunk = await to_completion(asyncio.to_thread(os.pread, file, _CHUNK, self._position))
        if not chunk and os.fstat(file).st_size < self._position:
            # Truncated, by an administrator or logrotate.
            self._position = 0
            return None
        self._position += len(chunk)
        return chunk

    async def _find_next(self) -> bool:
        """Open the files that follow the only open one; return whether there are any yet."""
        newer = await self._newer_than(self._logs[0])
        self._is_name_known = newer.found == 0
        self._is_gap = newer.found is None
        self._add(newer.logs)
        return bool(newer.logs)

    async def _newer_than(self, known: OpenedLog | None) -> _Newer:
        """Open all files that are newer than a known one, or all that exist.

        They are opened from the newest to the oldest one. A rotation meanwhile makes one appear
        twice, and none is missed.
        """
        logs: deque[OpenedLog] = deque()
        number = 0
        try:
            while True:
                log = await self._open_log(number)
                if log is None and number > 0:
                    return _Newer(logs, None)
                if log is not None and known is not None and _is_same(log, known):
                    log.close()
                    return _Newer(logs, number)
                if log is not None and any(_is_same(log, other) for other in logs):
                    log.close()
                elif log is not None:
                    logs.appendleft(log)
                number += 1
        except BaseException:
            for log in logs:
                log.close()
            raise

    async def _open_log(self, number: int) -> OpenedLog | None:
        """Open a file; a keeper that was killed is started again by the next request."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._domains.open_log(self._uuid, self._port, number)
            except PoolUnavailable:
                await asyncio.sleep(_LOOK_SECONDS)
        return await self._domains.open_log(self._uuid, self._port, number)


def _is_same(one: OpenedLog, other: OpenedLog) -> bool:
    return os.path.samestat(os.fstat(one.file), os.fstat(other.file))


def _has_only_grown(events: bytes) -> bool:
    position = 0
    while position < len(events):
        _watch, mask, _cookie, length = _EVENT.unpack_from(events, position)
        if mask != _GROWN:
            return False
        position += _EVENT.size + length
    return True
