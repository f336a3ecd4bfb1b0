# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lock of a pool: while a process has it, no process on any host claims anything.

A claim is not written under the lock, but only if no process has the lock, in one change of the
pool's table. So a thousand hosts that claim volumes at a time do not wait for each other.
"""

import contextlib
from collections.abc import Mapping

from virtlayer.errors import VirtlayerError
from virtlayer.rbd import keys
from virtlayer.rbd.live_claims import live_claims
from virtlayer.rbd.table import Conditions
from virtlayer.rbd.takeover import Takeover
from virtlayer.rbd.waiting import change_when_free


class PoolLock:
    """The lock of a pool; ``take`` takes it. Its methods block.

    Attributes:
        claimed: For each claim of a running job on any host, the volumes that the job needs.
    """

    def __init__(self, takeover: Takeover) -> None:
        self.claimed: Mapping[str, tuple[str, ...]] = {}
        self._takeover = takeover
        self._lease = takeover.lease
        self._value = b""

    def take(self) -> None:
        """Wait for the lock; ``release`` releases it, also after an interrupted attempt.

        Raises:
            PoolLocked: Another process has it for longer than one request waits.
            InUse: The claim of a job is invalid.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        self._lease.hold()
        self._value = f"{self._lease.process} {keys.new_id()}".encode()
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
            PoolUnavailable: It has.
        """
        self._lease.check()

    def release(self) -> None:
        """End the lock. If the cluster does not answer, it ends with the process."""
        if self._value:
            with contextlib.suppress(VirtlayerError):
                self.change({}, {keys.LOCK: None})
