# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a written record waits for: the syncs, and whether the pool is locked meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.records import image_record
from tests.support.service_parts import service_parts
from tests.support.staging import claimed
from virtlayer.errors import VirtlayerError
from virtlayer.keeper.kinds.directory.locks import try_lock
from virtlayer.keeper.kinds.directory.pool_lock import DirectoryLock
from virtlayer.keeper.kinds.directory.record_putting import put_record
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordPut, Stamp
from virtlayer.service.keeper.records import Records
from virtlayer.service.records.former_versions import replaced
from virtlayer.service.records.values import ImageRecord, PulledImage

FILE = f"{'0' * 64}.json"


@pytest.fixture
def content() -> Iterator[int]:
    """The content of a record."""
    with os.fdopen(os.memfd_create("record"), "wb") as file:
        file.write(b"{}")
        file.flush()
        yield file.fileno()


def is_locked(pool: Pool) -> bool:
    """Whether a process has the lock of a pool."""
    with (pool.path / ".virtlayer" / "lock").open("r+b") as file:
        return not try_lock(file.fileno(), 0, 1)


@pytest.fixture
def steps(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The syncs and renames in ``.virtlayer``, and whether the pool was locked meanwhile."""
    found = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        found.append((f"sync {name.partition('-')[0]}", is_locked(pool)))
        real_fsync(descriptor)

    def rename(*names: Any, **places: Any) -> None:
        found.append(("rename", is_locked(pool)))
        real_rename(*names, **places)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    return found


async def written(pool: Pool, expected: Stamp | None, content: int, *, durable: bool) -> RecordPut:
    async with claimed(pool) as claim:
        return await put_record(claim, FILE, expected, content, durable=durable)


def files_in(pool: Pool) -> list[str]:
    own = pool.path / ".virtlayer"
    return sorted(path.name for path in own.iterdir() if path.is_file() and path.name != "lock")


async def test_record_is_synced_before_the_lock_and_its_name_under_it(
    pool: Pool, steps: list[tuple[str, bool]], content: int
) -> None:
    await written(pool, None, content, durable=True)
    assert steps == [("sync .new", False), ("rename", True), ("sync .virtlayer", True)]


async def test_record_that_need_not_last_is_synced_once_without_the_lock(
    pool: Pool, steps: list[tuple[str, bool]], content: int
) -> None:
    first = await written(pool, None, content, durable=True)
    del steps[:]
    second = await written(pool, first.stamp, content, durable=False)
    assert steps == [("sync .new", False), ("rename", True)]
    assert first.stamp != second.stamp
    assert files_in(pool) == [FILE]


async def test_record_that_another_process_has_changed_leaves_no_file(
    pool: Pool, content: int
) -> None:
    first = await written(pool, None, content, durable=True)
    second = await written(pool, None, content, durable=True)
    assert second == RecordPut(changed=True, stamp=first.stamp)
    assert files_in(pool) == [FILE]


async def test_record_that_cannot_get_its_name_leaves_no_file(pool: Pool, content: int) -> None:
    async with claimed(pool) as claim:
        lock = await DirectoryLock.taken(pool)
        try:
            with pytest.raises(PoolLocked):
                await put_record(claim, FILE, None, content, durable=True)
        finally:
            await lock.release()
        (pool.path / ".virtlayer" / FILE).mkdir()
        found = (pool.path / ".virtlayer" / FILE).stat()
        stamp = Stamp(found.st_ino, found.st_ctime_ns, found.st_size)
        with pytest.raises(VirtlayerError):
            await put_record(claim, FILE, stamp, content, durable=True)
    assert files_in(pool) == []


@pytest.mark.parametrize(
    ("change", "durable"),
    [
        ({}, False),
        ({"pulled_by": frozenset({7})}, True),
        ({"digest": f"sha256:{'7' * 64}"}, True),
        ({"policy_scope": "docker"}, True),
    ],
)
async def test_only_the_time_of_a_pull_need_not_last(
    host: LibvirtHost,
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    durable: bool,
) -> None:
    asked = []
    real = Records.put

    async def put(*arguments: Any, **options: Any) -> Stamp | None:
        asked.append(options["durable"])
        return await real(*arguments, **options)

    monkeypatch.setattr(Records, "put", put)

    async with service_parts(host, tmp_path) as services:

        async def record(image: PulledImage) -> None:
            def changed(before: ImageRecord | None) -> ImageRecord:
                return replaced(before, image, frozenset(), 1)

            async with services.claims.claimed(pool, []) as claim:
                await services.records.change_image(claim, image.name, changed)

        await record(image_record())
        await record(image_record(pulled_at=image_record().pulled_at + 1, **change))
        image = await services.catalog.get(pool.name, "demo")
    assert asked == [True, durable]
    assert image is not None
    assert image.pulled_at == image_record().pulled_at + 1
