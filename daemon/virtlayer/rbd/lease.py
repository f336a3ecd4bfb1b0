# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lease of this process: until when other hosts leave alone what it has claimed in the pool.

A process that finds the lease of another one expired cuts that one off from the cluster before
anything else (``takeover``). So no clock has to be right: if a lease ends too early, jobs fail, and
no volume is damaged.

A process that cannot renew its lease ends itself some seconds before it expires, by a clock that
goes on while the host sleeps.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

from virtlayer.errors import PoolUnavailable, VirtlayerError
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.failures import NoAnswer, no_answer
from virtlayer.rbd.lease_locks import LeaseLocks
from virtlayer.rbd.process_entry import ProcessEntry
from virtlayer.rbd.table import Conditions, PoolTable

_log = logging.getLogger(__name__)

LEASE_SECONDS = 60
"""With what the binding adds (``try_lock``) and the two seconds of a takeover less than 75 s."""
_RENEWALS = 4
"""Per lease."""
_MARGIN = 1 / 12
"""The part of the lease before whose end the process ends itself."""
_REPLY_SECONDS = 1.0
"""How long a process that ends itself still says why to those that ask."""
_EXIT_STATUS = os.EX_TEMPFAIL


class Lease:
    """The lease of this process in a pool; taken when the process changes something first.

    The methods block, and may be called in any thread.

    Args:
        table: The table of the pool.
        entry: What other hosts have to know about this process.
        seconds: For how long the lease is taken and renewed.
        end_process: Ends this process at once.
    """

    def __init__(
        self,
        table: PoolTable,
        entry: ProcessEntry,
        *,
        seconds: int = LEASE_SECONDS,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self.table = table
        self.locks = LeaseLocks(table)
        self.process = keys.new_id()
        """The id of this process in the pool."""
        self.entry = entry
        self._seconds = seconds
        self._end_process = end_process
        self._taking = threading.Lock()
        self._attempts = 0
        self._failure: VirtlayerError | None = None
        self._valid_until: float | None = None
        self._lost = ""
        self._has_ended = False
        self._over = threading.Event()

    def change(self, expected: Conditions, new: Conditions) -> bool:
        """Change the table, if this process has the lease; see ``PoolTable.change``.

        Raises:
            PoolUnavailable: The process has lost its lease, or the cluster does not answer.
            VirtlayerError: The cluster refuses it.
        """
        self.hold()
        with self.certain():
            done = self.table.change({**self._ours(), **expected}, new)
        if not done:
            self._check_entry()
        return done

    def hold(self) -> None:
        """Check that this process has the lease; if it never had it, take it.

        Raises:
            PoolUnavailable: It has lost the lease, or the cluster does not answer.
            PoolUnsupported: A newer version of virtlayer uses the pool.
            VirtlayerError: The cluster refuses it.
        """
        attempts = self._attempts
        if self._valid_until is None:
            with self._taking:
                if self._failure is not None and self._attempts != attempts:
                    # Another thread has waited for the cluster long enough.
                    raise self._failure
                if self._valid_until is None:
                    self._try_take()
        self.check()

    def check(self) -> None:
        """Check that this process has not lost the lease.

        Raises:
            PoolUnavailable: It has lost the lease.
        """
        if self._valid_until is not None and _now() >= self._valid_until:
            self._lose(
                f'This host could not renew its lease in the pool "{self.table.pool}" in time, so '
                "other hosts may use what it had. Try again."
            )
        if self._lost:
            raise PoolUnavailable(self._lost)

    @contextlib.contextmanager
    def certain(self) -> Iterator[None]:
        """Lose the lease if it is unknown whether something was done in the context.

        The cluster may do it later. Without the lease, this process ends, and before another host
        relies on anything that this process had, the cluster refuses its requests.

        Raises:
            NoAnswer: It is unknown.
        """
        try:
            yield
        except NoAnswer as error:
            self._lose(error.message)
            raise
        except (rados.Error, rbd.Error) as error:
            if error.errno != errno.ETIMEDOUT:
                raise
            unknown = no_answer(self.table.pool)
            self._lose(unknown.message)
            raise unknown from error

    def end(self) -> None:
        """Give the lease up, when this process has no claim and no lock."""
        with self._taking:
            is_held = self._valid_until is not None and not self._lost
            self._has_ended = True
            self._lose("This process is ending.")
        if is_held:
            # If this fails, other hosts do it when the lease has expired.
            with contextlib.suppress(VirtlayerError):
                self.table.change(self._ours(), {keys.process_key(self.process): None})
                self.locks.remove(self.process)

    def _ours(self) -> Conditions:
        """The condition that no other host has taken over what this process had."""
        return {keys.process_key(self.process): self.entry.encoded()}

    def _try_take(self) -> None:
        self.check()
        self._failure = None
        try:
            self._take()
        except VirtlayerError as error:
            self._failure = error
            self._attempts += 1
            raise

    def _take(self) -> None:
        if not self.table.is_used():
            self.locks.create()
            self.table.begin()
        self.process = keys.new_id()
        begun = _now()
        # First the lock: other hosts take an entry without one for that of a dead process.
        self.locks.try_lock(self.process, self._seconds, by=self.process)
        self.table.change({}, self._ours())
        self._valid_until = self._end_of(begun)
        for work in (self._renew, self._watch):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / _RENEWALS):
            begun = _now()
            try:
                # It is not renewed too late, even if no other host has noticed.
                self.check()
                self.locks.renew(self.process, self._seconds)
            except NoAnswer:
                continue  # the next one may arrive in time
            except VirtlayerError as error:
                self._lose(error.message)
            else:
                self._valid_until = self._end_of(begun)

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._seconds / 20)):
            with contextlib.suppress(PoolUnavailable):
                self.check()
        if self._has_ended:
            return
        _log.critical("%s This process ends.", self._lost)
        time.sleep(_REPLY_SECONDS)
        self._end_process(_EXIT_STATUS)

    def _check_entry(self) -> None:
        key = keys.process_key(self.process)
        if self.table.get([key]).get(key) != self.entry.encoded():
            self._lose(
                f'Another host has ended what this host did in the pool "{self.table.pool}", '
                "because this host had no connection to the cluster for too long. Try again."
            )
            self.check()

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            self._over.set()

    def _end_of(self, begun: float) -> float:
        return begun + self._seconds * (1 - _MARGIN)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
