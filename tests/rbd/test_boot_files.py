# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels and initrds are stored as images of an RBD pool, and read again."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.rbd_images import Job
from tests.support.rbd_process import rbd_process, sealed
from virtlayer.errors import Internal, VolumeNotFound
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Purpose

_CONTENT = os.urandom(5 * 2**20 + 17)
_NAME = f"kernel-{hashlib.sha256(_CONTENT).hexdigest()}"


async def _store(job: Job, content: bytes) -> None:
    with sealed(content) as file:
        await job.process.ask(rbd.STORE_FILE, rbd.StoreFile(job.staging, "kernel"), [file])


async def test_bytes_are_stored_and_read(ceph: OneNodeCeph, pool: CephPool, tmp_path: Path) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process, Purpose.BOOT)
        await _store(job, _CONTENT)
        with pytest.raises(Internal, match="cannot be called"):
            await job.place("kernel", f"kernel-{'0' * 64}")
        assert (await job.place("kernel", _NAME)).ours
        await job.end()
        with (tmp_path / "kernel").open("wb") as file:
            await process.ask(rbd.READ_FILE, rbd.ImageName(_NAME), [file.fileno()])
        assert (tmp_path / "kernel").read_bytes() == _CONTENT

        # Somebody else changes a byte.
        ceph.rbd("bench", "--io-type", "write", "--io-total", "4K", f"{pool.name}/{_NAME}")
        with (tmp_path / "changed").open("wb") as file, pytest.raises(VolumeNotFound):
            await process.ask(rbd.READ_FILE, rbd.ImageName(_NAME), [file.fileno()])


async def test_only_kernels_and_initrds_are_read(pool: CephPool, tmp_path: Path) -> None:
    async with rbd_process(pool) as process:
        job = await Job.started(process)
        placed = await job.layer("a")
        with (tmp_path / "file").open("wb") as file, pytest.raises(Internal, match="kernels"):
            await process.ask(rbd.READ_FILE, rbd.ImageName(placed.image.name), [file.fileno()])
        with (tmp_path / "file").open("wb") as file, pytest.raises(VolumeNotFound):
            await process.ask(rbd.READ_FILE, rbd.ImageName(_NAME), [file.fileno()])
        (tmp_path / "full").write_bytes(b"x")
        with (tmp_path / "full").open("ab") as file, pytest.raises(Internal, match="empty file"):
            await process.ask(rbd.READ_FILE, rbd.ImageName(_NAME), [file.fileno()])
