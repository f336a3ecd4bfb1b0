# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a compromised service, or a program that it has taken over, makes the keeper work."""

import fcntl
import signal

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, staged, write
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import unfinished_in
from tests.support.raw_keeper import RawKeeper


@pytest.mark.parametrize("is_undefined", [False, True])
def test_nothing_is_written_where_a_pool_was(
    host: LibvirtHost, keeper: RawKeeper, pool: TestPool, is_undefined: bool
) -> None:
    claim = claim_of(keeper, pool)
    host.virsh("pool-destroy", pool.name)
    if is_undefined:
        host.virsh("pool-undefine", pool.name)
    reply = keeper.ask("stage", pool=pool.uuid, claim=claim, purpose="volume")
    assert reply.error == ("PoolNotFound" if is_undefined else "PoolInactive")
    assert unfinished_in(pool.path) == []
    if is_undefined:
        # With the same name and directory, it is still another pool.
        host.start_pool(pool.name, pool.path)
        reply = keeper.ask("stage", pool=pool.uuid, claim=claim, purpose="volume")
        assert reply.error == "PoolNotFound"
    else:
        host.virsh("pool-start", pool.name)


def test_a_lease_does_not_keep_the_keeper_waiting(keeper: RawKeeper, pool: TestPool) -> None:
    """A program that owns its file can have a lease on it, which breaks after 45 s."""
    staging = staged(keeper, pool, "volume")
    path = write(pool, "v1")
    ignored = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with path.open("r+b") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            # Less than it takes the lease to break.
            keeper.connection.settimeout(30)
            assert keeper.ask("flush", staging=staging, file="v1").error
    finally:
        signal.signal(signal.SIGIO, ignored)
    keeper.get("flush", staging=staging, file="v1")
    keeper.get("release", number=staging, failed=False)
