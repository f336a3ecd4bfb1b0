# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a machine has stopped, or crashed."""

import asyncio
import os
import re

from virtlayer.protocol.domains import KnownDomain, Port, State
from virtlayer.protocol.streams import Record, RecordKind
from virtlayer.service.keeper.domains import Domains, OpenedLog

_TAIL = 4096
_REASON = re.compile(rb"shutting down, reason=([a-z]+)")
"""What libvirt writes into a machine's log when it has ended (virDomainShutoffReason)."""


class Ending:
    """How a machine ends.

    The domain of an ephemeral machine does not exist afterwards, and its files are removed. So the
    log that tells is opened before.

    Args:
        domains: Opens the log.
        machine: The machine.
    """

    def __init__(self, domains: Domains, machine: KnownDomain) -> None:
        self._domains = domains
        self._machine = machine
        self._log: OpenedLog | None = None

    async def open(self) -> None:
        """Open the log, if it is needed.

        Raises:
            VirtlayerError: The keeper cannot be asked.
        """
        if self._machine.ephemeral:
            self._log = await self._domains.open_log(self._machine.uuid, Port.QEMU_LOG)
            if self._log is not None:
                # It is read once, at the end.
                self._log.stop_watching()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    async def record(self, state: State | None) -> Record:
        """Return the record of the end.

        Args:
            state: The state of the machine; None if it no longer exists.
        """
        has_crashed = state is State.CRASHED
        if state is None and self._log is not None:
            has_crashed = await asyncio.to_thread(_last_reason, self._log.file) == b"crashed"
        return Record(RecordKind.ENDED, b"crashed" if has_crashed else b"stopped")


def _last_reason(file: int) -> bytes:
    content = os.pread(file, _TAIL, max(0, os.fstat(file).st_size - _TAIL))
    reasons = _REASON.findall(content)
    return reasons[-1] if reasons else b""
