# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a machine has stopped, or crashed."""

import asyncio
import os
import re

from virtlayer.errors import VirtlayerError
from virtlayer.protocol.domains import KnownDomain, Port, State
from virtlayer.protocol.streams import Record, RecordKind
from virtlayer.service.keeper.domains import Domains

_TAIL = 4096
_REASON = re.compile(rb"shutting down, reason=([a-z]+)")
"""What libvirt writes into a machine's log when it has ended (virDomainShutoffReason)."""


async def ending_of(domains: Domains, machine: KnownDomain, state: State | None) -> Record:
    """Return the record of a machine's end.

    Args:
        domains: The machines.
        machine: The machine.
        state: Its state; None if it no longer exists, as an ephemeral one.
    """
    crashed = state is State.CRASHED
    if state is None:
        crashed = await _last_reason(domains, machine.uuid) == b"crashed"
    return Record(RecordKind.ENDED, b"crashed" if crashed else b"stopped")


async def _last_reason(domains: Domains, uuid: str) -> bytes:
    try:
        log = await domains.open_log(uuid, Port.QEMU_LOG)
    except VirtlayerError:
        # The machine has ended all the same.
        return b""
    if log is None:
        return b""
    try:
        content = await asyncio.to_thread(_tail_of, log.file)
    finally:
        log.close()
    reasons = _REASON.findall(content)
    return reasons[-1] if reasons else b""


def _tail_of(file: int) -> bytes:
    return os.pread(file, _TAIL, max(0, os.fstat(file).st_size - _TAIL))
