# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service cannot exchange what machines boot with."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, delete, directory_of, pairs, qcow2, staged, start, write
from tests.support.pool_content import names_in
from tests.support.raw_keeper import RawKeeper, Reply
from virtlayer.keeper.beneath import opened

CONTENT = b"070701 an initrd"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def place(keeper: RawKeeper, pool: TestPool, name: str, content: bytes = CONTENT) -> Reply:
    """Have a file placed that a worker has written."""
    staging = staged(keeper, pool, "boot")
    (directory_of(pool) / "disk").write_bytes(content)
    keeper.get("flush", staging=staging, file="disk")
    reply = keeper.ask("place", staging=staging, file="disk", name=name, build=None)
    keeper.get("release", number=staging, failed=False)
    return reply


@pytest.mark.parametrize("part", ["kernel", "initrd"])
def test_boot_volume_is_placed_once_and_can_be_deleted(
    keeper: RawKeeper, pool: TestPool, part: str
) -> None:
    name = f"{part}-{DIGEST}"
    assert place(keeper, pool, name).done["ours"] is True
    info = (pool.path / name).stat()
    assert info.st_mode & 0o7777 == 0o440
    assert place(keeper, pool, name).done["ours"] is False
    assert (pool.path / name).stat().st_ino == info.st_ino
    assert delete(keeper, pool, name)["names"] == [name]


@pytest.mark.parametrize(
    "name",
    [
        f"kernel-{'0' * 64}",
        f"initrd-{hashlib.sha256(b'other').hexdigest()}",
        f"kernel-{DIGEST.upper()}",
        f"kernel-{DIGEST}.qcow2",
        f"layer-{DIGEST}.qcow2",
        "vmlinuz",
    ],
)
def test_content_under_another_name_is_refused(
    keeper: RawKeeper, pool: TestPool, name: str
) -> None:
    assert place(keeper, pool, name).error == "Internal"
    assert names_in(pool.path) == []


@pytest.mark.parametrize("content", [qcow2(), qcow2(b"/etc/shadow"), b"QED\0" + bytes(512)])
def test_disk_under_the_name_of_an_initrd_is_refused(
    keeper: RawKeeper, pool: TestPool, content: bytes
) -> None:
    name = f"initrd-{hashlib.sha256(content).hexdigest()}"
    assert place(keeper, pool, name, content).error == "Internal"
    assert names_in(pool.path) == []


def test_other_programs_place_nothing_under_the_name_of_a_boot_volume(
    keeper: RawKeeper, pool: TestPool
) -> None:
    staging = staged(keeper, pool, "volume")
    write(pool, "v1")
    keeper.get("flush", staging=staging, file="v1")
    name = f"kernel-{hashlib.sha256(qcow2()).hexdigest()}"
    assert keeper.ask("place", staging=staging, file="v1", name=name, build=None).error
    assert names_in(pool.path) == []


def test_boot_volume_that_another_program_made_is_not_deleted(
    keeper: RawKeeper, pool: TestPool
) -> None:
    foreign = pool.path / f"kernel-{DIGEST}"
    foreign.write_bytes(CONTENT)
    assert delete(keeper, pool, foreign.name)["error"] == "VolumeNotFound"
    assert foreign.exists()


def test_claimed_boot_volume_is_not_deleted(keeper: RawKeeper, pool: TestPool) -> None:
    name = f"kernel-{DIGEST}"
    assert not place(keeper, pool, name).error
    claim = claim_of(keeper, pool, name)
    assert delete(keeper, pool, name)["error"] == "InUse"
    keeper.get("release", number=claim, failed=False)


def test_passed_kernel_and_modules_must_be_a_file_and_a_directory(
    keeper: RawKeeper, pool: TestPool, tmp_path: Path
) -> None:
    staging = staged(keeper, pool, "boot")
    with (
        tempfile.TemporaryFile() as file,
        opened(os.open(tmp_path, os.O_RDONLY)) as directory,
        pairs(socket.SOCK_SEQPACKET) as [control],
    ):
        kernel = file.fileno()
        for wrong in ([kernel], [directory, kernel], [kernel] * 2, [kernel, directory, kernel]):
            reply = start(keeper, "host-kernel-worker", control, *wrong, staging=staging)
            assert reply.error == "Internal"
    keeper.get("release", number=staging, failed=False)
