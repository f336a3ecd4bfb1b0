# SPDX-License-Identifier: LGPL-2.1-or-later
"""qemu-img as it looks at a disk out of an image: what it tells, and what it cannot do."""

import contextlib
import errno
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.keeper import LocalStaging
from tests.support.waiting import until
from virtlayer import programs
from virtlayer.errors import MalformedLayer
from virtlayer.keeper import programs as keeper_programs
from virtlayer.keeper import users
from virtlayer.keeper.beneath import opened
from virtlayer.keeper.programs import Place
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.programs import Kind, StartProgram
from virtlayer.service.workers.disk_inspection import inspect_disk

_INSIDE = """
import os, resource, socket, sys
from virtlayer.worker.disk.qemu_img import enter

parent = os.getppid()
inet, unix = socket.socket(), socket.socket(socket.AF_UNIX)
enter()
attempts = {
    "open a file to write": lambda: os.open(sys.argv[1], os.O_WRONLY),
    "make a file": lambda: os.open(sys.argv[1] + ".new", os.O_RDONLY | os.O_CREAT),
    "empty a file": lambda: os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC),
    "remove a file": lambda: os.unlink(sys.argv[1]),
    "change a mode": lambda: os.chmod(sys.argv[1], 0o777),
    "make a socket": lambda: socket.socket(),
    "connect by network": lambda: inet.connect(("127.0.0.1", 1)),
    "connect by path": lambda: unix.connect("/run/dbus/system_bus_socket"),
    "bind a socket": lambda: unix.bind("\\0virtlayer-test"),
    "fork": os.fork,
    "signal another process": lambda: os.kill(parent, 0),
    "trace": lambda: os.pidfd_open(parent),
    "change user": lambda: os.setuid(0),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    "make a namespace": lambda: os.unshare(os.CLONE_NEWUSER),
    "open a terminal": lambda: os.posix_openpt(os.O_RDWR),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, "worked", sep="\\t")
    except OSError as error:
        print(name, error.errno, sep="\\t")
    except ValueError:
        print(name, "refused", sep="\\t")
"""


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file that every user may write, in a directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "disk"
        path.touch()
        Path(directory).chmod(0o777)
        path.chmod(0o666)
        yield path


async def test_nothing_can_be_changed_or_reached_from_inside(disk: Path) -> None:
    output = await programs.run(
        [sys.executable, "-I", "-c", _INSIDE, disk], identity=users.qemu_identity()
    )

    outcomes = dict(line.split("\t") for line in output.decode().splitlines())
    assert len(outcomes) == 16
    refused = {"refused", str(errno.EPERM), str(errno.EACCES)}
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in refused} == {}
    assert [path.name for path in disk.parent.iterdir()] == ["disk"]


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
async def test_qemu_img_tells_the_format(disk: Path, image_format: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, disk, "64M"], check=True)
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        assert (
            await inspect_disk(LocalStaging(descriptor, Purpose.DISK, descriptor), "The disk")
            == image_format
        )
    finally:
        os.close(descriptor)


async def test_damaged_disk_is_refused_in_the_words_of_qemu_img(disk: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    with disk.open("r+b") as stream:
        stream.seek(40)  # where the L1 table is said to be
        stream.write(b"\xff" * 8)
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        with pytest.raises(MalformedLayer, match=r"disk image that qemu-img can read: .*L1"):
            await inspect_disk(LocalStaging(descriptor, Purpose.DISK, descriptor), "The disk")
    finally:
        os.close(descriptor)


@pytest.mark.root
async def test_root_runs_qemu_img_as_the_user_of_qemus_programs(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "QEMU_USER", "games")
    monkeypatch.setattr(users, "WORKER_USER", "mail")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    reader, writer = os.pipe()
    with opened(reader), opened(writer), opened(os.open(disk, os.O_RDWR)) as output:
        _fill(writer)
        place = Place(Purpose.DISK, output, output)
        request = StartProgram(kind=Kind.DISK_INSPECTOR)
        async with keeper_programs.running(request, [writer], place) as program:
            process = Path(f"/proc/{program.pid}")
            # Its answer does not fit into the pipe, so it stays.
            await until(lambda: (process / "comm").read_text() == "qemu-img\n")
            assert process.stat().st_uid == pwd.getpwnam("games").pw_uid


def _fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(4096))
    os.set_blocking(pipe, True)
