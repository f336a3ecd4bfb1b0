# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletions of images of an RBD pool that do not come to their end."""

import asyncio
import json
import os
import signal

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_host_process import connected
from tests.support.rbd_images import Job, layer_name
from tests.support.rbd_process import rbd_process
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.calls import Nothing
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.lease_locks import LeaseLocks
from virtlayer.rbd.table import PoolTable

_SIZE = 2**31
_RECORD = "0" * 64 + ".json"
_PATIENCE = 60.0


async def test_killed_deletion_leaves_no_half_layer(ceph: OneNodeCeph, pool: CephPool) -> None:
    name = layer_name("a")
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.create("layer", None, _SIZE)
        async with job.served("layer") as server:
            await server.io(*(f"write -P 1 {start}M 32M" for start in range(0, 256, 32)))
        await job.flush("layer")
        await job.place("layer", name)
        await job.end()
        lock = await process.ask(messages.LOCK, Nothing())
        request = messages.DeleteImage(lock.lock, name, _RECORD)
        deleting = asyncio.create_task(process.ask(messages.DELETE, request))
        with connected(pool) as cluster, cluster.open_ioctx(pool.name) as images:
            async with asyncio.timeout(_PATIENCE):
                while name in rbd.RBD().list(images):
                    await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(PoolUnavailable):
            await deleting
    left = ceph.images(pool.name)
    # It takes much longer to delete 512 objects than to notice that the name has gone.
    assert left
    assert all(image.startswith("virtlayer-unfinished-") for image in left)
    for image in left:
        # Otherwise the killed process counts as a client for 30 s.
        status = json.loads(ceph.rbd("status", f"{pool.name}/{image}", "--format", "json"))
        for watcher in status["watchers"]:
            ceph.ceph("osd", "blocklist", "add", watcher["address"])
    # Its lease would last for up to 60 s; until then, the image counts as one that it deletes.
    with connected(pool) as cluster, cluster.open_ioctx(pool.name) as ioctx:
        locks = LeaseLocks(PoolTable(ioctx, pool.name))
        for killed in locks.processes():
            locks.remove(killed)
    async with rbd_process(pool) as process:
        assert (await process.ask(messages.SWEEP, Nothing())).number == len(left)
    assert ceph.images(pool.name) == []
    assert "rbd_data" not in ceph.rados("-p", pool.name, "ls")
