# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd is aborted in a thread of librbd while it refreshes an RBD pool, see docs/pools.md."""

import ctypes
import signal
from pathlib import Path

from tests.support.ceph import OneNodeCeph
from tests.support.libvirt_host import LIBRBD_THREAD, LibvirtHost
from tests.support.raw_keeper import raw_keeper
from tests.support.waiting import wait_until
from virtlayer.protocol.rbd_names import claim_of


def abort_in_refresh(host: LibvirtHost) -> None:
    """Abort a libvirtd in a thread of librbd, as soon as it refreshes a pool.

    Only during a refresh, librbd has threads in libvirtd.
    """
    # Python sends signals to threads of its own process only.
    tgkill = ctypes.CDLL(None).tgkill
    wait_until(
        lambda: any(not tgkill(host.pid, one, signal.SIGABRT) for one in _librbd_threads(host.pid))
    )
    assert host.librbd_abort(wait=True), host.log()


def assert_recovers(host: LibvirtHost, ceph: OneNodeCeph) -> None:
    """Restart a libvirtd after librbd has aborted it, and check what must hold before and after.

    A keeper reports that it cannot be reached. After the restart, the same keeper lists the RBD
    pools. Jobs have left nothing in them.

    Args:
        host: The libvirtd; its RBD pools were active.
        ceph: The cluster of the pools.
    """
    with raw_keeper(host.uri) as keeper:
        assert keeper.ask("find-pool", name="any").error == "PoolUnavailable"
        host.restart()
        for name in host.virsh("pool-list", "--all", "--name", "--type=rbd").split():
            # libvirt 11.3 activates it only when the host boots.
            host.virsh("pool-start", name)
            pool = keeper.get("find-pool", name=name)
            keeper.get("find-volumes", pool=pool["uuid"], names=None, refresh=True)
            left = [*filter(claim_of, ceph.images(pool["path"]))]
            assert not left, f"unfinished images: {left}"


def _librbd_threads(process: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        try:
            name = (thread / "comm").read_text()
        except OSError:
            continue
        if name == f"{LIBRBD_THREAD}\n":
            found.append(int(thread.name))
    return found
