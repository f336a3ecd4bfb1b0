# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process of an ``RbdHost``: does what each line of its input says, and answers with a line."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tests.support.ceph import CephPool
from virtlayer.errors import VirtlayerError
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.rbd_names import unfinished_name
from virtlayer.protocol.records import Stamp
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.lease import Lease
from virtlayer.rbd.pool_lock import PoolLock
from virtlayer.rbd.process_entry import ProcessEntry, addresses_in
from virtlayer.rbd.records import put_record, read_records
from virtlayer.rbd.table import PoolTable
from virtlayer.rbd.takeover import Takeover


@contextlib.contextmanager
def connected(pool: CephPool, *, op_timeout: int = 50) -> Iterator[Any]:
    """Connect to the cluster of a pool as the pool's user."""
    configuration = {
        "mon_host": f"v2:127.0.0.1:{pool.port}",
        "key": pool.key,
        "rados_osd_op_timeout": str(op_timeout),
    }
    with rados.Rados(rados_id=pool.user, conf=configuration) as cluster:
        yield cluster


def made_claim(takeover: Takeover, names: Iterable[str]) -> Claim:
    """Make a claim."""
    claim = Claim(takeover)
    claim.make(names)
    return claim


def taken_lock(takeover: Takeover) -> PoolLock:
    """Take the lock of a pool."""
    lock = PoolLock(takeover)
    try:
        lock.take()
    except BaseException:
        lock.release()
        raise
    return lock


class _Host:
    """The process itself."""

    def __init__(self, lease: Lease, takeover: Takeover, images: Any) -> None:
        self._lease = lease
        self._takeover = takeover
        self._images = images
        self._opened: list[Any] = []
        self._held: list[Claim | PoolLock] = []

    def done(self, request: Mapping[str, Any]) -> object:
        match request["do"]:
            case "claim":
                self._held.append(made_claim(self._takeover, request["names"]))
                return len(self._held) - 1
            case "add":
                self._claim(request).add(request["names"])
            case "try_build":
                return sorted(self._claim(request).try_build(request["builds"]))
            case "end_build":
                self._claim(request).end_build(request["build"])
            case "lock":
                self._held.append(taken_lock(self._takeover))
                return len(self._held) - 1
            case "claimed":
                lock = self._held[request["number"]]
                assert isinstance(lock, PoolLock)
                return sorted(name for names in lock.claimed.values() for name in names)
            case "end":
                held = self._held[request["number"]]
                if isinstance(held, PoolLock):
                    held.release()
                else:
                    held.end()
            case "put":
                stamp = None if request["expected"] is None else Stamp(**request["expected"])
                content = None if request["content"] is None else request["content"].encode()
                holder = self._held[request["number"]]
                put = put_record(self._lease.table, holder, request["file"], stamp, content)
                return asdict(put)
            case "change_unchecked":
                # As a request that was on its way when the process was stopped.
                value = request["value"].encode()
                return self._lease.table.change({}, {request["key"]: value})
            case "create_image":
                name = unfinished_name(self._claim(request).name, request["file"])
                rbd.RBD().create(self._images, name, 2**20)
                self._opened.append(rbd.Image(self._images, name))
            case "lock_once":
                return self._lock_once(time.monotonic() + request["seconds"])
            case "rename_image":
                try:
                    rbd.RBD().rename(self._images, request["old"], request["new"])
                except rbd.Error as error:
                    return error.errno
            case "count":
                return self._count(self._claim(request), request["file"], request["times"])
            case "try_each":
                claim = self._claim(request)
                return [build for build in request["builds"] if not claim.try_build([build])]
            case "end_lease":
                self._lease.end()
            case other:
                raise AssertionError(other)
        return None

    def _lock_once(self, deadline: float) -> list[str]:
        """Wait for the lock, and release it; return what was claimed."""
        while True:
            try:
                lock = taken_lock(self._takeover)
            except PoolLocked:
                if time.monotonic() > deadline:
                    raise
            else:
                lock.release()
                return sorted(name for names in lock.claimed.values() for name in names)

    def _count(self, claim: Claim, file: str, times: int) -> int:
        """Increment the number in a record; return how often another process had changed it."""
        conflicts = 0
        while times:
            found, [content] = read_records(self._lease.table, [file])
            stamp, number = found.records[0].stamp, int(content or b"0")
            new = str(number + 1).encode()
            if put_record(self._lease.table, claim, file, stamp, new).changed:
                conflicts += 1
            else:
                times -= 1
        return conflicts

    def _claim(self, request: Mapping[str, Any]) -> Claim:
        claim = self._held[request["number"]]
        assert isinstance(claim, Claim)
        return claim


def main() -> None:
    """Serve a test until it closes the input."""
    start = json.loads(sys.stdin.readline())
    pool = CephPool(**start["pool"])
    with (
        connected(pool, op_timeout=start["op_timeout"]) as cluster,
        cluster.open_ioctx(pool.name) as ioctx,
        cluster.open_ioctx(pool.name) as images,
    ):
        entry = ProcessEntry(addresses_in(cluster.get_addrs()), socket.gethostname(), os.getpid())
        end_process = (lambda _: None) if start["lives_on"] else os._exit
        lease = Lease(
            PoolTable(ioctx, pool.name),
            entry,
            seconds=start["lease_seconds"],
            end_process=end_process,
        )
        host = _Host(lease, Takeover(lease, cluster), images)
        _answer({"done": entry.addresses})
        for line in sys.stdin:
            try:
                _answer({"done": host.done(json.loads(line))})
            except VirtlayerError as error:
                _answer({"error": error.name, "message": error.message})


def _answer(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
