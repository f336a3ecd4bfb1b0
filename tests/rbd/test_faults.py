# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cluster that is full, or whose OSD fails, is reported within a minute, and nothing hangs."""

import asyncio
import time

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_images import Job
from tests.support.rbd_process import rbd_process
from virtlayer.errors import NoSpace
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing, Purpose


async def test_full_cluster_ends_what_writes(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process, Purpose.VOLUME)
        await job.create("other")
        await job.flush("other")
        await job.place("other", "other")
        await job.create("volume")
        async with job.served("volume", ends=False) as server:
            with ceph.full():
                begun = time.monotonic()
                writing = asyncio.create_task(server.try_io("write 0 16M", "flush"))
                with pytest.raises(NoSpace, match="full"):
                    await server.wait()
                assert time.monotonic() - begun < 60
                await writing
                # Our own requests fail as well.
                with pytest.raises(NoSpace):
                    await job.create("another")
                # Deleting something is what helps.
                lock = await process.ask(rbd.LOCK, Nothing())
                record = "0" * 64 + ".json"
                await process.ask(rbd.DELETE, rbd.DeleteImage(lock.lock, "other", record))
        # Its image remains for 30 s, because the cluster does not know yet that it was killed.
        await job.end()


async def test_build_goes_on_after_the_osd_was_killed(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        await job.create("va")
        async with job.served("va") as server:
            await server.io("write -P 1 0 8M", "flush")
            with ceph.osd_killed():
                writing = asyncio.create_task(server.io("write -P 2 8M 8M", "flush"))
                await asyncio.sleep(1)
            await writing
            await server.io("read -P 1 0 8M", "read -P 2 8M 8M")
        await job.flush("va")
        assert (await job.place("va", f"layer-{'a' * 64}")).ours
