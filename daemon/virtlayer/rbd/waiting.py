# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waits while another process has something that a change of the table needs, such as the lock."""

import time
from collections.abc import Collection

from virtlayer.errors import InUse
from virtlayer.protocol.claims import PoolLocked
from virtlayer.rbd import keys
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.table import Conditions
from virtlayer.rbd.takeover import Takeover

_PAUSE = 0.02
"""Seconds between two attempts."""
_REQUEST_SECONDS = 0.3
"""How long one request waits. The service asks again, unless its job was cancelled meanwhile: a
cancelled job ends within a second."""


def change_when_free(
    takeover: Takeover, free: Collection[str], expected: Conditions, new: Conditions
) -> bool:
    """Change the table of a pool as soon as no process has something; see ``Lease.change``.

    What a process had that no longer runs is free.

    Args:
        takeover: Ends what dead processes had.
        free: The keys that no process may have.
        expected: The other conditions.
        new: The new values.

    Returns:
        Whether it was done; False if one of the other conditions is not met.

    Raises:
        PoolLocked: Another process has it for longer than one request waits.
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    lease = takeover.lease
    conditions: Conditions = {**dict.fromkeys(free), **expected}
    deadline = time.monotonic() + _REQUEST_SECONDS
    asked: set[str] = set()
    while not lease.change(conditions, new):
        found = lease.table.get(conditions.keys())
        taken = next((key for key in free if key in found), None)
        if taken is None:
            if any(found.get(key) != value for key, value in expected.items()):
                return False
            continue
        holder = _holder(lease, taken, found[taken])
        if holder not in asked and takeover.end_if_dead(holder):
            continue
        asked.add(holder)
        if time.monotonic() > deadline:
            raise PoolLocked(
                f"{takeover.describe(holder).capitalize()} has the {taken.partition(' ')[0]} of "
                f'the pool "{lease.table.pool}". If that process does not end it, end that '
                "process."
            )
        time.sleep(_PAUSE)
    return True


def _holder(lease: Lease, key: str, value: bytes) -> str:
    holder = keys.holder_of(value)
    if holder is None:
        raise InUse(
            f'It is unknown which process has the "{key}" of the pool "{lease.table.pool}". When '
            f"no host uses the pool, run: rados -p {lease.table.pool} -N virtlayer rmomapkey pool "
            f"'{key}'"
        )
    return holder
