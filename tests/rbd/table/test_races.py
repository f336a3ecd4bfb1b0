# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several processes that change the table of an RBD pool at a time."""

from tests.support.ceph import CephPool
from tests.support.rbd_host import RbdHost
from virtlayer.rbd.records import read_records
from virtlayer.rbd.table import PoolTable

FILE = "0" * 64 + ".json"
TIMES = 40


def test_no_change_of_a_record_is_lost(shared_pool: CephPool, table: PoolTable) -> None:
    with RbdHost(shared_pool) as one, RbdHost(shared_pool) as two, RbdHost(shared_pool) as three:
        hosts = (one, two, three)
        for host in hosts:
            host.tell(do="count", number=host.claim(), file=FILE, times=TIMES)
        conflicts = sum(host.answer() for host in hosts)
    _, [content] = read_records(table, [FILE])
    assert content == str(len(hosts) * TIMES).encode()
    # Otherwise, they did not meet.
    assert conflicts > 0


def test_each_layer_is_built_by_one_process(shared_pool: CephPool) -> None:
    builds = [f"{number:064x}" for number in range(50)]
    with RbdHost(shared_pool) as one, RbdHost(shared_pool) as two, RbdHost(shared_pool) as three:
        hosts = (one, two, three)
        for host in hosts:
            host.tell(do="try_each", number=host.claim(), builds=builds)
        taken = [build for host in hosts for build in host.answer()]
    assert sorted(taken) == builds
