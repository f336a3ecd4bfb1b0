# SPDX-License-Identifier: LGPL-2.1-or-later
"""qcow2 overlays, served over NBD to one client."""

import asyncio
import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import children, nothing_left
from virtlayer.chain.qcow2 import CLUSTER_SIZE, create_overlay, serve
from virtlayer.programs import ProgramFailed

MIB = 1024**2

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


async def write_through(path: Path, backing: Path | None, offset: int, data: bytes) -> None:
    async with serve(path, backing) as connection:
        client = NbdClient(connection)
        client.write(offset, data)
        client.flush()
        client.disconnect()


def reads(path: Path, offset: int, pattern: int, size: int) -> bool:
    """Whether the guest reads one byte all over; opens the chain as it is on disk."""
    command = f"read -P {pattern} {offset} {size}"
    done = subprocess.run(
        ["qemu-io", "-r", "-f", "qcow2", "-c", command, path], capture_output=True, check=True
    )
    return b"verification failed" not in done.stdout


async def test_an_overlay_names_its_parent_barely(tmp_path: Path) -> None:
    path = tmp_path / "top.qcow2"
    await create_overlay(path, 64 * MIB, "base.qcow2")
    output = subprocess.check_output(["qemu-img", "info", "--output=json", path])
    info = json.loads(output)
    assert info["backing-filename"] == "base.qcow2"
    assert info["backing-filename-format"] == "qcow2"
    assert info["virtual-size"] == 64 * MIB
    assert info["cluster-size"] == CLUSTER_SIZE
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert not info["format-specific"]["data"]["lazy-refcounts"]


@pytest.mark.parametrize("name", ["pool", "a, b=c: ü", "/".join(["x" * 100] * 4)])
async def test_a_staged_overlay_is_written_on_a_parent_elsewhere(tmp_path: Path, name: str) -> None:
    pool = tmp_path / name
    staging = pool / "staging"
    staging.mkdir(parents=True)
    await create_overlay(pool / "base.qcow2", 64 * MIB, None)
    await write_through(pool / "base.qcow2", None, 0, b"\1" * 2 * MIB)
    staged = staging / "top.qcow2"
    await create_overlay(staged, 64 * MIB, "base.qcow2")
    await write_through(staged, pool / "base.qcow2", MIB, b"\2" * MIB)
    assert [entry.name for entry in staging.iterdir()] == ["top.qcow2"]
    staged.rename(pool / "top.qcow2")
    assert reads(pool / "top.qcow2", 0, 1, MIB)
    assert reads(pool / "top.qcow2", MIB, 2, MIB)
    assert reads(pool / "base.qcow2", MIB, 1, MIB)


async def test_a_client_that_only_hangs_up_ends_the_server(tmp_path: Path) -> None:
    path = tmp_path / "base.qcow2"
    await create_overlay(path, 64 * MIB, None)
    async with serve(path, None) as connection:
        assert NbdClient(connection).size == 64 * MIB


async def test_what_qemu_cannot_open_is_said_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "base.qcow2"
    path.write_bytes(b"no qcow2")
    with pytest.raises(ProgramFailed, match="not in qcow2 format"):
        async with serve(path, None):
            pass
    await create_overlay(tmp_path / "top.qcow2", 64 * MIB, "gone.qcow2")
    with pytest.raises(ProgramFailed, match=r"gone\.qcow2"):
        async with serve(tmp_path / "top.qcow2", tmp_path / "gone.qcow2"):
            pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["base.qcow2", "top.qcow2"]


async def test_a_file_that_cannot_be_made_is_said_in_qemus_words(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="No such file or directory"):
        await create_overlay(tmp_path / "nowhere" / "base.qcow2", 64 * MIB, None)


async def test_cancelling_ends_the_server(tmp_path: Path) -> None:
    path = tmp_path / "base.qcow2"
    await create_overlay(path, 64 * MIB, None)
    serving = asyncio.Event()

    async def work() -> None:
        async with serve(path, None) as connection:
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
    assert [entry.name for entry in tmp_path.iterdir()] == ["base.qcow2"]


async def test_cancelling_at_any_moment_of_the_start_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "base.qcow2"
    await create_overlay(path, 64 * MIB, None)

    async def work() -> None:
        async with serve(path, None):
            await asyncio.sleep(1000)

    for milliseconds in range(0, 12, 2):
        task = asyncio.create_task(work())
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [entry.name for entry in tmp_path.iterdir()] == ["base.qcow2"]
