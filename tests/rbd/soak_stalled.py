# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cluster that is down or stalled is reported within a minute."""

import asyncio
import time
from dataclasses import replace

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.free_ports import free_port
from tests.support.rbd_images import Job
from tests.support.rbd_process import rbd_process
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Purpose


async def test_stalled_osd_ends_what_writes(ceph: OneNodeCeph, pool: CephPool) -> None:
    async with rbd_process(pool) as process, rbd_process() as late:
        job = await Job.started(process, Purpose.VOLUME)
        await job.create("volume")
        async with job.served("volume", ends=False) as server:
            with ceph.stalled():
                begun = time.monotonic()
                asked = [
                    asyncio.create_task(one)
                    for one in (
                        server.wait(),
                        late.open(pool),
                        process.ask(rbd.FIND_IMAGES, rbd.FindImages(None)),
                        job.create("another"),
                    )
                ]
                for one in asked:
                    with pytest.raises(PoolUnavailable):
                        await one
                assert time.monotonic() - begun < 60
                begun = time.monotonic()
                await job.end()
                assert time.monotonic() - begun < 30


async def test_cluster_that_is_down_is_reported(pool: CephPool) -> None:
    async with rbd_process() as process:
        begun = time.monotonic()
        with pytest.raises(PoolUnavailable, match="does not answer"):
            await process.open(replace(pool, port=free_port()))
        assert time.monotonic() - begun < 60
