# SPDX-License-Identifier: LGPL-2.1-or-later
"""qcow2 images, made and served over NBD by one process."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.keeper import local_staging
from tests.support.leftovers import children, nothing_left
from tests.support.small_filesystem import memory_filesystem, small_filesystem
from tests.support.waiting import stop, until
from virtlayer.errors import Internal
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.volume_format import CLUSTER_SIZE
from virtlayer.service.chain import qcow2, qmp
from virtlayer.service.chain.images import Images, NewImage, Parent
from virtlayer.service.chain.qcow2 import create_qcow2_overlay, qcow2_images_in
from virtlayer.service.chain.qmp import CommandFailed
from virtlayer.service.chain.storage_daemon import StorageDaemon, storage_daemon
from virtlayer.sizes import KIB, MIB

_OPTION_EXPORT_NAME = 1
_WRITE, _DISCONNECT, _FLUSH = 1, 2, 3


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with nothing_left():
        yield


class NbdClient:
    """As much of the NBD protocol (doc/proto.md, fixed newstyle) as a test needs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        assert self._read(16) == b"NBDMAGICIHAVEOPT"
        self._read(2)
        connection.sendall(struct.pack(">I", 0b11))
        connection.sendall(b"IHAVEOPT" + struct.pack(">II", _OPTION_EXPORT_NAME, 0))
        self.size, _flags = struct.unpack(">QH", self._read(10))

    def write(self, offset: int, data: bytes) -> None:
        self._ask(_WRITE, offset, data)

    def flush(self) -> None:
        self._ask(_FLUSH, 0, b"")

    def disconnect(self) -> None:
        self._send(_DISCONNECT, 0, b"")

    def _ask(self, command: int, offset: int, data: bytes) -> None:
        self._send(command, offset, data)
        magic, error, _cookie = struct.unpack(">IIQ", self._read(16))
        assert (magic, error) == (0x67446698, 0)

    def _send(self, command: int, offset: int, data: bytes) -> None:
        header = struct.pack(">IHHQQI", 0x25609513, 0, command, 7, offset, len(data))
        self._connection.sendall(header + data)

    def _read(self, size: int) -> bytes:
        return self._connection.recv(size, socket.MSG_WAITALL)


@contextlib.asynccontextmanager
async def images_at(directory: Path) -> AsyncIterator[Images]:
    """Images in a directory, made by QEMU's user."""
    with local_staging(directory) as staging:
        async with qcow2_images_in(staging) as images:
            yield images


@contextlib.asynccontextmanager
async def daemon_at(directory: Path) -> AsyncIterator[StorageDaemon]:
    """A qemu-storage-daemon in a directory."""
    with local_staging(directory) as staging:
        async with storage_daemon(staging) as daemon:
            yield daemon


async def write(images: Images, image: NewImage, offset: int, data: bytes) -> None:
    """Have a client write, and flush; then the image is finished."""
    async with images.exported(image) as connect:
        with await connect() as connection:
            client = NbdClient(connection)
            client.write(offset, data)
            client.flush()
            client.disconnect()
    await images.finish(image)


def reads(path: Path, offset: int, pattern: int, size: int) -> bool:
    """Whether the guest reads one byte all over; opens the chain as it is on disk."""
    command = f"read -P {pattern} {offset} {size}"
    done = subprocess.run(
        ["qemu-io", "-r", "-f", "qcow2", "-c", command, path], capture_output=True, check=True
    )
    return b"verification failed" not in done.stdout


def open_files(pid: int) -> dict[str, int]:
    """The regular files that a process has open, and the flags of open(2)."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # It closes descriptors meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if (target := entry.readlink()).is_file():
                flags = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().splitlines()[1]
                found[target.name] = int(flags.split()[1], 8)
    return found


def kill_new_child(before: set[int]) -> None:
    """Kill the one child that was not there before, and see it end."""
    (child,) = children() - before
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir(mode=0o700)
    return path


@pytest.mark.parametrize("large", [False, True])
async def test_an_image_is_the_one_that_qemu_img_makes(directory: Path, large: bool) -> None:
    options = ["-o", f"compat=1.1,cluster_size={CLUSTER_SIZE},lazy_refcounts=off"]
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options]
    overlay = ["-u", "-b", "base.qcow2", "-F", "qcow2"]
    async with images_at(directory) as images:
        base = await images.create(64 * MIB, None, large=large)
        top = await images.create(64 * MIB, Parent("base.qcow2", base), large=large)
        for image, arguments in ((base, []), (top, overlay)):
            expected = directory / f"{image.name}.expected"
            subprocess.run([*command, *arguments, expected, str(64 * MIB)], check=True)
            assert (directory / image.name).read_bytes() == expected.read_bytes()


async def test_overlay_names_its_parent_without_a_path(directory: Path) -> None:
    async with images_at(directory) as images:
        base = await images.create(64 * MIB, None)
        top = await images.create(64 * MIB, Parent("base.qcow2", base))
    output = subprocess.check_output(["qemu-img", "info", "--output=json", directory / top.name])
    info = json.loads(output)
    assert info["backing-filename"] == "base.qcow2"
    assert info["backing-filename-format"] == "qcow2"
    assert info["virtual-size"] == 64 * MIB
    assert info["cluster-size"] == CLUSTER_SIZE
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert not info["format-specific"]["data"]["lazy-refcounts"]


@pytest.mark.parametrize("name", ["pool", "a, b=c: ü", "/".join(["x" * 100] * 4)])
async def test_an_overlay_is_written_on_a_parent_elsewhere(tmp_path: Path, name: str) -> None:
    pool = tmp_path / name
    staging = pool / "staging"
    staging.mkdir(parents=True)
    async with images_at(staging) as images:
        base = await images.create(64 * MIB, None)
        await write(images, base, 0, b"\1" * 2 * MIB)
    (staging / base.name).rename(pool / "base.qcow2")
    os.link(pool / "base.qcow2", staging / "base.qcow2")
    async with images_at(staging) as images:
        top = await images.create(64 * MIB, Parent("base.qcow2", "base.qcow2"))
        await write(images, top, MIB, b"\2" * MIB)
    assert {entry.name for entry in staging.iterdir()} == {"base.qcow2", top.name}
    (staging / top.name).rename(pool / "top.qcow2")
    assert reads(pool / "top.qcow2", 0, 1, MIB)
    assert reads(pool / "top.qcow2", MIB, 2, MIB)
    assert reads(pool / "base.qcow2", MIB, 1, MIB)


@pytest.mark.parametrize("large", [False, True])
async def test_a_chain_is_written_by_one_process(directory: Path, large: bool) -> None:
    names = [f"{number}.qcow2" for number in range(20)]
    before = children()
    async with images_at(directory) as images:
        parent: Parent | None = None
        chain = []
        # All of them before anything is written, as a job does it.
        for name in names:
            chain.append(await images.create(64 * MIB, parent, large=large))
            parent = Parent(name, chain[-1])
        for number, image in enumerate(chain):
            await write(images, image, number * MIB, bytes([number + 1]) * MIB)
        assert len(children() - before) == 1
    for name, image in zip(names, chain, strict=True):
        (directory / image.name).rename(directory / name)
        subprocess.run(["qemu-img", "check", "-q", directory / name], check=True)
    for number in range(20):
        assert reads(directory / names[-1], number * MIB, number + 1, MIB)


async def test_a_large_image_is_written_past_the_page_cache(tmp_path: Path) -> None:
    staging, base = tmp_path / "staging", tmp_path / "base.qcow2"
    staging.mkdir()
    before = children()
    async with images_at(staging) as images:
        made = await images.create(64 * MIB, None)
        await write(images, made, 0, b"\1" * MIB)
    (staging / made.name).rename(base)
    os.link(base, staging / base.name)
    async with images_at(staging) as images:
        image = await images.create(64 * MIB, Parent(base.name, base.name), large=True)
        async with images.exported(image) as connect:
            (child,) = children() - before
            flags = open_files(child)
            assert flags[image.name] & os.O_DIRECT
            # It was read before, and will be again.
            assert not flags[base.name] & os.O_DIRECT
            with await connect() as connection:
                client = NbdClient(connection)
                client.write(3, b"\2" * 5)
                client.write(2 * MIB - 700, b"\3" * 1000)
                client.flush()
                client.disconnect()
        await images.finish(image)
    (staging / image.name).rename(tmp_path / "top.qcow2")
    top = tmp_path / "top.qcow2"
    assert reads(top, 0, 1, 3)
    assert reads(top, 3, 2, 5)
    assert reads(top, 8, 1, 1000)
    assert reads(top, 2 * MIB - 700, 3, 1000)
    assert reads(top, 2 * MIB + 300, 0, MIB)


async def test_a_file_system_that_has_only_a_page_cache(tmp_path: Path) -> None:
    with memory_filesystem(tmp_path):
        async with images_at(tmp_path) as images:
            image = await images.create(64 * MIB, None, large=True)
            await write(images, image, 0, b"\1" * MIB)
        assert reads(tmp_path / image.name, 0, 1, MIB)


async def test_reply_to_an_abandoned_command_is_dropped(directory: Path) -> None:
    async with daemon_at(directory) as daemon:
        assert await daemon.monitor.execute("query-jobs") == []
        for turns in range(20):
            given_up = asyncio.create_task(daemon.monitor.execute("query-version"))
            waiting = asyncio.create_task(daemon.monitor.execute("query-block-exports"))
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            assert await waiting == []


async def test_one_export_serves_one_client_after_the_other(directory: Path) -> None:
    async with images_at(directory) as images:
        image = await images.create(64 * MIB, None)
        async with images.exported(image) as connect:
            for number in range(5):
                with await connect() as connection:
                    client = NbdClient(connection)
                    client.write(number * MIB, bytes([number + 1]) * MIB)
                    client.flush()
    for number in range(5):
        assert reads(directory / image.name, number * MIB, number + 1, MIB)


@pytest.mark.parametrize("large", [False, True])
async def test_flushed_data_is_in_the_file(directory: Path, large: bool) -> None:
    paths: list[Path] = []

    async def work() -> None:
        before = children()
        async with images_at(directory) as images:
            base = await images.create(64 * MIB, None, large=large)
            top = await images.create(64 * MIB, Parent(base.name, base), large=large)
            paths.append(directory / top.name)
            await write(images, base, 8 * MIB, b"\1" * MIB)
            async with images.exported(top) as connect:
                with await connect() as connection:
                    client = NbdClient(connection)
                    client.write(16 * MIB, b"\2" * MIB)
                    client.flush()
                    kill_new_child(before)

    with pytest.raises(ProgramFailed):
        await work()
    [top] = paths
    subprocess.run(["qemu-img", "check", "-q", top], check=True)
    assert reads(top, 8 * MIB, 1, MIB)
    assert reads(top, 16 * MIB, 2, MIB)


async def test_a_finished_image_is_open_for_reading_only(directory: Path) -> None:
    before = children()
    async with images_at(directory) as images:
        image = await images.create(64 * MIB, None)
        (daemon,) = children() - before
        assert open_files(daemon)[image.name] & os.O_ACCMODE == os.O_RDWR
        await write(images, image, 0, b"\1" * MIB)
        assert open_files(daemon)[image.name] & os.O_ACCMODE == os.O_RDONLY
        # As a machine would that starts on it now: qemu has no lock against that.
        assert reads(directory / image.name, 0, 1, MIB)
        with pytest.raises(CommandFailed):
            async with images.exported(image):
                pass


async def test_daemon_stops_while_its_caller_continues(directory: Path) -> None:
    before = children()
    async with images_at(directory) as images:
        image = await images.create(64 * MIB, None)
        await write(images, image, 8 * MIB, b"\1" * MIB)
        as_finished = (directory / image.name).read_bytes()
        images.let_go()
        await until(lambda: not children() - before)
        assert (directory / image.name).read_bytes() == as_finished
    assert reads(directory / image.name, 8 * MIB, 1, MIB)


async def test_open_failure_has_the_message_of_qemu(directory: Path) -> None:
    broken = directory / "broken.qcow2"
    broken.write_bytes(b"no qcow2")
    async with images_at(directory) as images:
        with pytest.raises(CommandFailed, match="not in qcow2 format"):
            await images.create(64 * MIB, Parent("broken.qcow2", broken.name))
        with pytest.raises(CommandFailed, match=r"gone\.qcow2"):
            await images.create(64 * MIB, Parent("gone.qcow2", "gone.qcow2"))


async def test_a_file_that_cannot_be_made_is_reported_with_qemus_message(directory: Path) -> None:
    async with images_at(directory) as images:
        directory.rmdir()
        with pytest.raises(CommandFailed, match="No such file or directory"):
            await images.create(64 * MIB, None)


async def test_a_full_disk_is_reported_with_qemus_message(directory: Path) -> None:
    with small_filesystem(directory, 128 * KIB):
        async with images_at(directory) as images:
            with pytest.raises(CommandFailed, match="No space left on device"):
                await images.create(64 * MIB, None)


async def test_a_missing_directory_for_sockets_is_the_systems_error(directory: Path) -> None:
    with local_staging(directory) as staging:
        staging.runtime = directory / "nowhere"
        with pytest.raises(FileNotFoundError):
            async with qcow2_images_in(staging):
                pass


@pytest.mark.parametrize("moment", ["create", "export", "connect", "unexport", "finish"])
async def test_a_daemon_that_is_killed_is_a_program_that_failed(
    directory: Path, moment: str
) -> None:
    before = children()

    def kill_at(now: str) -> None:
        if now == moment:
            kill_new_child(before)

    async def work() -> None:
        async with images_at(directory) as images:
            kill_at("create")
            image = await images.create(64 * MIB, None)
            kill_at("export")
            async with images.exported(image) as connect:
                kill_at("connect")
                with await connect():
                    kill_at("unexport")
            kill_at("finish")
            await images.finish(image)

    with pytest.raises(ProgramFailed, match="qemu-storage-daemon was killed by SIGKILL"):
        await work()


async def test_hanging_daemon_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    async with images_at(directory) as images:
        image = await images.create(64 * MIB, None)
        (daemon,) = children() - before
        stop(daemon)
        monkeypatch.setattr(qmp, "QEMU_SECONDS", 0.1)
        with pytest.raises(
            Internal, match="qemu-storage-daemon did not answer the command blockdev-reopen within"
        ):
            await images.finish(image)


async def test_qemu_img_that_hangs_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    monkeypatch.setattr(qcow2, "QEMU_SECONDS", 0)
    with (
        local_staging(directory, Purpose.VOLUME) as staging,
        pytest.raises(Internal, match="qemu-img did not end within 0 s"),
    ):
        await create_qcow2_overlay(staging, 64 * MIB, f"layer-{'0' * 64}.qcow2")
    assert children() == before


async def test_cancelling_ends_the_daemon(directory: Path) -> None:
    serving = asyncio.Event()

    async def work() -> None:
        async with images_at(directory) as images:
            image = await images.create(64 * MIB, None)
            async with images.exported(image) as connect:
                with await connect() as connection:
                    NbdClient(connection)
                    serving.set()
                    await asyncio.sleep(1000)

    before = children()
    task = asyncio.create_task(work())
    await serving.wait()
    assert len(children() - before) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before
    assert [entry.name for entry in directory.iterdir()] == ["v1"]


async def test_cancelling_at_any_moment_of_the_start_leaves_nothing(directory: Path) -> None:
    async def work() -> None:
        async with images_at(directory):
            await asyncio.sleep(1000)

    for milliseconds in range(0, 12, 2):
        task = asyncio.create_task(work())
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [*directory.iterdir()] == []
