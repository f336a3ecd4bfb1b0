# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log that is read while it grows, is rotated, truncated and deleted."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.machine_ports import BACKUPS, UUID, LogFile, MachinePorts, machine_ports
from tests.support.waiting import PATIENCE
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol.domains import Port
from virtlayer.service.keeper.domains import OpenedLog
from virtlayer.service.machines.streams.log_follower import LogFollower

GAP = b"<gap>"


@pytest.fixture
def ports(tmp_path: Path) -> MachinePorts:
    return machine_ports(tmp_path)


@pytest.fixture
def log(ports: MachinePorts) -> LogFile:
    return ports.log(Port.OUTPUT)


@contextlib.asynccontextmanager
async def following(ports: MachinePorts, tail: int | None = None) -> AsyncIterator[LogFollower]:
    before = inotify_descriptors()
    follower = LogFollower(ports, UUID, Port.OUTPUT)  # type: ignore[arg-type] # a stand-in
    try:
        async with asyncio.timeout(PATIENCE):
            await follower.open(tail)
            yield follower
    finally:
        follower.close()
    assert inotify_descriptors() == before


def inotify_descriptors() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()) == "anon_inode:inotify"
    return found


async def available(follower: LogFollower) -> bytes:
    """Return what can be read now; GAP where bytes are missing."""
    content = b""
    while (chunk := await follower.read()) != b"":
        content += GAP if chunk is None else chunk
    return content


async def read_until(follower: LogFollower, end: bytes) -> bytes:
    content = b""
    while not content.endswith(end):
        if chunk := await available(follower):
            content += chunk
        else:
            await follower.changed()
    return content


async def test_new_output_is_read_when_it_is_written(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"old ")
    async with following(ports) as follower:
        assert await available(follower) == b"old "
        assert not follower.begins_within
        reading = asyncio.create_task(read_until(follower, b"end"))
        for word in (b"new ", b"newer ", b"end"):
            log.write(word)
            await asyncio.sleep(0)
        assert await reading == b"new newer end"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (None, b"111122223333"),
        (99, b"111122223333"),
        (9, b"122223333"),
        (8, b"22223333"),
        (4, b"3333"),
        (3, b"333"),
        (0, b""),
    ],
)
async def test_tail_is_counted_over_rotated_files(
    ports: MachinePorts, log: LogFile, tail: int | None, expected: bytes
) -> None:
    for content in (b"1111", b"2222"):
        log.write(content)
        log.rotate()
    log.write(b"3333")
    async with following(ports, tail) as follower:
        assert follower.begins_within
        assert await available(follower) == expected
        log.write(b"end")
        assert await read_until(follower, b"end") == b"end"


async def test_one_file_of_a_log_is_watched(ports: MachinePorts, log: LogFile) -> None:
    for content in (b"1", b"2", b"3"):
        log.write(content)
        log.rotate()
    before = inotify_descriptors()
    async with following(ports) as follower:
        assert inotify_descriptors() == before + 1
        log.write(b"4")
        log.rotate()
        log.write(b"end")
        assert await read_until(follower, b"end") == b"1234end"
        assert inotify_descriptors() == before + 1


async def test_rotation_loses_nothing(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"a")
    async with following(ports) as follower:
        assert await available(follower) == b"a"
        log.write(b"b")
        log.rotate()
        log.write(b"c")
        log.rotate()
        log.write(b"d")
        assert await read_until(follower, b"d") == b"bcd"
        log.rotate()
        log.write(b"e")
        assert await read_until(follower, b"e") == b"e"


async def test_name_that_is_free_for_a_moment(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"a")
    async with following(ports) as follower:
        assert await available(follower) == b"a"
        log.rename()
        await follower.changed()
        assert await available(follower) == b""
        log.write(b"b")
        assert await read_until(follower, b"b") == b"b"


async def test_file_is_renamed_before_it_is_watched(
    ports: MachinePorts, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(b"a")
    open_log = ports.open_log

    async def open_too_late(uuid: str, port: Port, rotated: int = 0) -> OpenedLog | None:
        found = await open_log(uuid, port, rotated)
        if rotated == 0:
            monkeypatch.undo()
            log.rotate()
            # What has happened to the file is not reported.
            assert found is not None
            os.read(found.watcher, 65536)
        return found

    monkeypatch.setattr(ports, "open_log", open_too_late)
    async with following(ports) as follower:
        log.write(b"b")
        assert await read_until(follower, b"b") == b"ab"


async def test_output_that_was_rotated_away_is_a_gap(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"a")
    async with following(ports) as follower:
        assert await available(follower) == b"a"
        log.write(b"b")
        for number in range(5):
            log.rotate()
            log.write(b"%d" % number)
        assert await read_until(follower, b"4") == b"b" + GAP + b"1234"


async def test_truncated_file_is_a_gap(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"long before")
    async with following(ports) as follower:
        assert await available(follower) == b"long before"
        os.truncate(log.path, 0)
        log.write(b"after")
        assert await read_until(follower, b"after") == GAP + b"after"


async def test_replaced_file_is_a_gap(ports: MachinePorts, log: LogFile) -> None:
    log.write(b"before")
    async with following(ports) as follower:
        assert await available(follower) == b"before"
        log.path.unlink()
        log.write(b"after")
        assert await read_until(follower, b"after") == GAP + b"after"


async def test_file_that_does_not_exist_yet(ports: MachinePorts, log: LogFile) -> None:
    async with following(ports) as follower:
        assert not follower.exists
        assert await available(follower) == b""
        log.write(b"first")
        assert await read_until(follower, b"first") == b"first"
        assert follower.exists


async def test_keeper_is_started_again(
    ports: MachinePorts, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(b"a")
    async with following(ports) as follower:
        assert await available(follower) == b"a"
        log.rotate()
        log.write(b"b")

        async def fail_once(*_: object) -> OpenedLog | None:
            monkeypatch.undo()
            raise PoolUnavailable("virtlayer-keeper stopped.")

        monkeypatch.setattr(ports, "open_log", fail_once)
        assert await read_until(follower, b"b") == b"b"


async def test_link_in_the_place_of_a_log_is_not_read(
    ports: MachinePorts, log: LogFile, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    log.write(b"a")
    async with following(ports) as follower:
        assert await available(follower) == b"a"
        log.rename()
        log.path.symlink_to(tmp_path / "secret")
        with pytest.raises(Exception, match="is something else"):
            await read_until(follower, b"secret")


@pytest.mark.parametrize("seed", range(10))
async def test_random_rotations(ports: MachinePorts, log: LogFile, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- not for security
    written = b""
    log.write(b"")

    def write() -> None:
        nonlocal written
        content = chance.randbytes(chance.randrange(1, 200_000)) + b"."
        written += content
        log.write(content)

    def rotate() -> None:
        # virtlogd renames a full file only.
        if log.path.stat().st_size:
            log.rotate()

    async with following(ports) as follower:
        content = b""
        for _ in range(40):
            for _ in range(chance.randrange(BACKUPS + 1)):
                chance.choice([write, write, rotate])()
            for _ in range(chance.randrange(5)):
                chunk = await follower.read()
                assert chunk is not None
                content += chunk
            # Otherwise the next rotations could remove what was not read.
            while len(content) < len(written):
                await follower.changed()
                content += await available(follower)
        assert content == written
