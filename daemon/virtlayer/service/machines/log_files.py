# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the last lines of a machine's logs, and what its init has written since a time.

The logs are appended to at each start, and rotated. Their content comes from the machine.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from virtlayer.errors import DomainFailed
from virtlayer.protocol.domains import Port
from virtlayer.protocol.streams import OUTPUT, RecordKind, RecordParser
from virtlayer.service.keeper.domains import Domains, OpenedLog

_READ_AT_ONCE = 256 * 1024
_TAIL = 4096
"""Bytes of a log that are searched for its last lines."""
_EXIT_TAIL = 256 * 1024
"""Bytes of the output that are searched for the exit status: that is written last."""
_LINES = 5
_EVENTS = 65536
"""Bytes of notices of inotify(7) that are read at once."""
_OF_INIT = (RecordKind.STARTED, RecordKind.FAILED, RecordKind.EXIT)


async def last_lines(domains: Domains, uuid: str, port: Port) -> str:
    """Return the last lines of a log, with " / " between them; "" if there are none.

    Args:
        domains: The domains.
        uuid: The domain, which may have ended.
        port: KERNEL_LOG or QEMU_LOG.
    """
    log = await domains.open_log(uuid, port)
    if log is None:
        return ""
    with contextlib.closing(log):
        content = await asyncio.to_thread(_tail, log.file, _TAIL)
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return " / ".join([line for line in lines if line][-_LINES:])


async def exit_status(domains: Domains, uuid: str) -> int | None:
    """Return the status with which the entrypoint of a machine has ended since its last start.

    Args:
        domains: The domains.
        uuid: The domain, which has our init.

    Returns:
        The status as a shell has it; None if the entrypoint has not ended.
    """
    log = await domains.open_log(uuid, Port.OUTPUT)
    if log is None:
        return None
    with contextlib.closing(log):
        content = await asyncio.to_thread(_tail, log.file, _EXIT_TAIL)
    status = None
    for record in RecordParser(OUTPUT, within=len(content) == _EXIT_TAIL).feed(content):
        if record.kind is RecordKind.EXIT:
            status = record.content[0]
        elif record.kind is RecordKind.STARTED:
            status = None
    return status


class NewOutput:
    """What the init of a machine writes after a time: whether it was reached.

    Args:
        domains: The domains.
        uuid: The domain.
        log: Its output until now; None if there is none. It is closed by this object.
    """

    def __init__(self, domains: Domains, uuid: str, log: OpenedLog | None) -> None:
        self._domains = domains
        self._uuid = uuid
        self._log = log
        self._position = 0 if log is None else os.fstat(log.file).st_size
        self._parser = RecordParser(OUTPUT)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    async def has_init(self) -> bool:
        """Return whether the init has written since then that it runs."""
        while True:
            if await self._read():
                return True
            if not await self._continues():
                return False

    async def init(self) -> None:
        """Wait until the init has written since then that it runs."""
        while not await self.has_init():
            await self._changed()

    async def _read(self) -> bool:
        while self._log is not None:
            file, position = self._log.file, self._position
            content = await asyncio.to_thread(os.pread, file, _READ_AT_ONCE, position)
            if not content:
                break
            self._position += len(content)
            if any(record.kind in _OF_INIT for record in self._parser.feed(content)):
                return True
        return False

    async def _continues(self) -> bool:
        """Open the present file, and return whether it is another one than before."""
        present = await self._domains.open_log(self._uuid, Port.OUTPUT)
        if present is None:
            return False
        if self._log is not None and os.path.samestat(
            os.fstat(self._log.file), os.fstat(present.file)
        ):
            present.close()
            return False
        self.close()
        self._log, self._position = present, 0
        return True

    async def _changed(self) -> None:
        """Wait until the file grows or is rotated."""
        if self._log is None:
            raise DomainFailed(
                "The output of the machine cannot be read: libvirt has not created its file."
            )
        watcher, loop = self._log.watcher, asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(watcher, readable.set)
        try:
            await readable.wait()
            os.read(watcher, _EVENTS)
        finally:
            loop.remove_reader(watcher)


@contextlib.asynccontextmanager
async def new_output(domains: Domains, uuid: str) -> AsyncIterator[NewOutput]:
    """Look at what the init of a machine writes from now on."""
    output = NewOutput(domains, uuid, await domains.open_log(uuid, Port.OUTPUT))
    with contextlib.closing(output):
        yield output


def _tail(file: int, size: int) -> bytes:
    end = os.fstat(file).st_size
    return os.pread(file, size, max(0, end - size))
