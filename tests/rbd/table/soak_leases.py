# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leases of an RBD pool as long as they really are, and processes that are killed all the time."""

import itertools
import threading
import time

import pytest

from tests.support.ceph import CephPool
from tests.support.rbd_host import RbdHost, Refused
from tests.support.soak import FACTOR
from virtlayer.rbd.lease import LEASE_SECONDS
from virtlayer.rbd.records import read_records
from virtlayer.rbd.table import PoolTable

KEY = "a" * 64
FILE = "0" * 64 + ".json"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_takeover_takes_75_seconds_at_most(
    shared_pool: CephPool, table: PoolTable, how: str
) -> None:
    assert not table.is_used()
    with RbdHost(shared_pool) as lost, RbdHost(shared_pool) as host:
        number = lost.claim(["x"])
        assert lost.try_build(number, KEY) == []
        lost.lock()
        # Just renewed is the worst case.
        time.sleep(LEASE_SECONDS / 4 + 0.5)
        getattr(lost, how)()
        began = time.monotonic()
        assert host.ask(do="lock_once", seconds=120.0) == []
        took = time.monotonic() - began
        assert LEASE_SECONDS / 2 < took < 75
        assert host.try_build(host.claim(), KEY) == []
        if how == "stop":
            lost.go_on()
            assert lost.status(30) != 0


def test_killed_processes_lose_no_change(shared_pool: CephPool, table: PoolTable) -> None:
    over = threading.Event()
    confirmed: list[int] = []
    unknown: list[int] = []

    lives = itertools.cycle((0.5, 1.7, 0.9, 3, 1.1))

    def increment() -> None:
        while not over.is_set():
            with RbdHost(shared_pool, lease_seconds=3) as host:
                killer = threading.Timer(next(lives), host.kill)
                killer.start()
                try:
                    number = host.claim(["x"])
                    while True:
                        confirmed.append(host.ask(do="count", number=number, file=FILE, times=1))
                except (EOFError, BrokenPipeError):
                    unknown.append(1)
                except Refused as error:
                    if error.name != "PoolLocked":
                        raise
                finally:
                    killer.cancel()

    workers = [threading.Thread(target=increment) for _ in range(4)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 15 * FACTOR
    with RbdHost(shared_pool, lease_seconds=3) as host:
        while time.monotonic() < deadline:
            host.ask(do="lock_once", seconds=60.0)
            time.sleep(0.5)
    over.set()
    for worker in workers:
        worker.join()
    _, [content] = read_records(table, [FILE])
    assert len(confirmed) <= int(content) <= len(confirmed) + len(unknown)
    assert unknown
