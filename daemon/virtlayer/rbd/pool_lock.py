# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lock of a pool: while a process has it, no process on any host claims anything.

A claim is not written under the lock, but only if no process has the lock, in one change of the
pool's table. So a thousand hosts that claim volumes at a time do not wait for each other.
"""

import contextlib
import threading
from collections.abc import Mapping

from virtlayer.errors import Internal, VirtlayerError
from virtlayer.rbd import keys
from virtlayer.rbd.live_claims import live_claims
from virtlayer.rbd.table import Conditions
from virtlayer.rbd.takeover import Takeover
from virtlayer.rbd.waiting import change_when_free


class PoolLock:
    """The lock of a pool; ``take`` takes it. The methods block, and may be called in any thread.

    Attributes:
        name: What says in the table which lock of the process it is; as the name of a claim.
        claimed: For each claim of a running job on any host, the volumes that the job needs.
    """

    def __init__(self, takeover: Takeover) -> None:
        self.claimed: Mapping[str, tuple[str, ...]] = {}
        self._takeover = takeover
        self._lease = takeover.lease
        self.name = keys.new_id()
        self._value = b""
        self._using = threading.Lock()
        self._has_ended = False

    def take(self) -> None:
        """Wait for the lock; ``release`` releases it, also after an interrupted attempt.

        Raises:
            PoolLocked: Another process has it for longer than one request waits.
            InUse: The claim of a job is invalid.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        with self._using:
            self._lease.hold()
            self.check()
            self._value = f"{self._lease.process} {self.name}".encode()
            change_when_free(self._takeover, [keys.LOCK], {}, {keys.LOCK: self._value})
            self.claimed = live_claims(self._takeover)

    def change(self, expected: Conditions, new: Conditions) -> bool:
        """Change the table of the pool, if this process still has the lock.

        Raises:
            PoolUnavailable: It has lost its lease, or the cluster does not answer.
            VirtlayerError: The cluster refuses it.
        """
        return self._lease.change({keys.LOCK: self._value, **expected}, new)

    def check(self) -> None:
        """Check that this process has not lost the lock.

        Raises:
            Internal: It was released.
            PoolUnavailable: It has.
        """
        if self._has_ended:
            raise Internal("The lock of the pool was released.")
        self._lease.check()

    def release(self) -> None:
        """End the lock. If the cluster does not answer, it ends with the process."""
        # An attempt to take it that nobody waits for any longer must not take it afterwards.
        with self._using, contextlib.suppress(VirtlayerError):
            self._has_ended = True
            if self._value:
                self.change({}, {keys.LOCK: None})
