# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ends what processes had in the pool that no longer run, on any host.

A process whose lease has expired may only be stopped, or cut off from the cluster for a time.
Before its claims end, it is barred from the cluster (``osd blocklist add``). Then no OSD that knows
this does what it asks for, and each later request of this process lets its OSD know.
"""

import contextlib
import errno
import logging
from typing import Any

from virtlayer.errors import InUse, PoolUnsupported, VirtlayerError
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rados
from virtlayer.rbd.failures import refused_by_cluster
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.process_entry import decode_entry

_log = logging.getLogger(__name__)

_TAKEOVER_SECONDS = 10
"""How long other processes wait if this one ends during a takeover, which takes a second."""
_BAR_SECONDS = 30 * 24 * 60 * 60
"""For how long a process is barred: longer than a host sleeps."""


class Takeover:
    """Finds dead processes, and ends what they had. Its methods block.

    Args:
        lease: The lease of this process.
        cluster: Ceph's connection to the cluster.
    """

    def __init__(self, lease: Lease, cluster: Any) -> None:
        self.lease = lease
        self._table = lease.table
        self._cluster = cluster

    def end_if_dead(self, process: str) -> bool:
        """End what a process had, if it no longer runs; whether that is so.

        Raises:
            InUse: It cannot be barred from the cluster, because its entry is invalid.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        lease = self.lease
        if process == lease.process:
            return False
        if not lease.locks.try_lock(process, _TAKEOVER_SECONDS, by=lease.process):
            return False
        try:
            self._end(process)
        finally:
            with contextlib.suppress(VirtlayerError):
                # Left behind, it only lets the others wait.
                lease.locks.remove(process)
        return True

    def describe(self, process: str) -> str:
        """A process in words, for messages."""
        value = self._value_of(process)
        entry = None if value is None else decode_entry(value)
        return f"process {process[:8]}" if entry is None else str(entry)

    def _end(self, process: str) -> None:
        value = self._value_of(process)
        if value is not None:
            entry = decode_entry(value)
            if entry is None:
                raise InUse(
                    f'The entry of a process in the pool "{self._table.pool}" is invalid, so it is '
                    "unknown whether it still runs. When no host uses the pool, run: rados -p "
                    f"{self._table.pool} -N virtlayer rmomapkey pool "
                    f"'{keys.process_key(process)}'"
                )
            for address in entry.addresses:
                if address not in self.lease.entry.addresses:
                    self._bar(address)
            _log.warning('Ended what the %s had in the pool "%s".', entry, self._table.pool)
        self._forget(process, value)

    def _value_of(self, process: str) -> bytes | None:
        key = keys.process_key(process)
        return self._table.get([key]).get(key)

    def _bar(self, address: str) -> None:
        try:
            self._cluster.blocklist_add(address, _BAR_SECONDS)
            self._cluster.wait_for_latest_osdmap()
        except rados.Error as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise PoolUnsupported(
                    f'The user of the pool "{self._table.pool}" may not add to the blocklist of '
                    "its cluster, so a process that no longer runs cannot be replaced. Give it the "
                    "capability: mon 'profile rbd'"
                ) from error
            raise refused_by_cluster(error, self._table.pool) from error

    def _forget(self, process: str, value: bytes | None) -> None:
        """Delete what a barred process had in the table."""
        table = self._table
        had = [key for key, _ in table.scan(keys.claims_of(process))]
        for prefix in (keys.BUILDS, keys.PLACINGS, keys.LOCK):
            had += [key for key, held in table.scan(prefix) if keys.holder_of(held) == process]
        key = keys.process_key(process)
        # If another host was faster, the entry has gone, and with it everything else.
        table.change({key: value}, dict.fromkeys((*had, key)))
