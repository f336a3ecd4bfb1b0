# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the workers that write directories and disks cannot do, tried from inside.

These tests are root, and try everything as an ordinary user too.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.directories import apply_to, open_directory, place_of
from tests.support.directory_user import as_nobody, users_directory
from tests.support.images import device, file, layer
from virtlayer.service.workers.directory import DirectoryWorker
from virtlayer.settings import LayerSettings

pytestmark = pytest.mark.root
_ENTER = """
import ctypes, os, socket, stat, sys
from virtlayer.worker.sandbox.directory import enter_directory_sandbox
from virtlayer.worker.sandbox.enter import Limits
from virtlayer.worker.sandbox import landlock

directory, how, victim = int(sys.argv[1]), sys.argv[2], sys.argv[3]
inet = socket.socket()
outside = os.path.dirname(victim)
if how == "landlock":
    def refuse(_):
        raise OSError
    os.unshare = refuse
limits = Limits(memory=2**31, cpu_seconds=60, descriptors=96, file_size=2**40)
enter_directory_sandbox(limits, directory, customizes=how == "customize")
new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
"""
_REPORT = """
def way_out():
    for _ in range(20):
        os.chdir("..")

for name, attempt in attempts.items():
    try:
        result = attempt()
        print(name, "worked", sep="\\t")
    except (OSError, ValueError) as error:
        print(name, getattr(error, "errno", None) or "refused", sep="\\t")
    except ImportError:
        print(name, "refused", sep="\\t")
"""
_FORBIDDEN = (
    _ENTER
    + """
attempts = {
    "read a file of the host": lambda: os.open(victim, os.O_RDONLY),
    "read it by dots": lambda: os.open("../" * 20 + victim, os.O_RDONLY, dir_fd=directory),
    "list the host": lambda: os.listdir(os.open(outside, os.O_RDONLY | os.O_DIRECTORY)),
    "write there": lambda: os.open(outside + "/new", new, 0o600),
    "make a directory there": lambda: os.mkdir(outside + "/new", 0o700, dir_fd=directory),
    "remove there": lambda: os.unlink(victim, dir_fd=directory),
    "link from there": lambda: os.link(victim, "stolen", dst_dir_fd=directory),
    "change the root": lambda: os.chroot("/"),
    "make a namespace": lambda: os.unshare(os.CLONE_NEWUSER),
    "write a file that is there": lambda: os.open("file", os.O_WRONLY, dir_fd=directory),
    "rename": lambda: os.rename("file", "other", src_dir_fd=directory, dst_dir_fd=directory),
    "use the network": lambda: inet.connect(("127.0.0.1", 1)),
    "make a socket": lambda: socket.socket(),
    "fork": os.fork,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "signal a process": lambda: os.kill(os.getppid(), 0),
    "change user": lambda: os.setresuid(1, 1, 1),
}
"""
    + _REPORT
)
_MORE_FORBIDDEN_TO_APPLY = """
attempts = {
    "read a file that is there": lambda: os.open("file", os.O_RDONLY, dir_fd=directory),
    "open a device": lambda: os.open("device", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory),
}
"""
_ALLOWED = (
    _ENTER
    + """
attempts = {
    "make a file": lambda: os.close(os.open("new", new, 0o600, dir_fd=directory)),
    "make a directory": lambda: os.mkdir("directory", dir_fd=directory),
    "list it": lambda: os.listdir(os.open("directory", os.O_DIRECTORY, dir_fd=directory)),
    "link": lambda: os.link("new", "directory/link", src_dir_fd=directory, dst_dir_fd=directory,
                            follow_symlinks=False),
    "remove": lambda: os.unlink("new", dir_fd=directory),
}
"""
    + _REPORT
)


def _outcomes(place: Path, how: str, script: str, *, root: bool) -> Mapping[str, str]:
    command: list[str | Path] = [sys.executable, "-I", "-c", script]
    prepared = place / "inside"
    with open_directory(prepared) as descriptor:
        command += [str(descriptor), how, str(place / "victim")]
        done = subprocess.run(
            ["setpriv", "--no-new-privs", "--", *(command if root else as_nobody(*command))],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t") for line in done.stdout.splitlines())


@pytest.fixture
def place() -> Iterator[Path]:
    with users_directory() as path:
        (path / "inside").mkdir()
        (path / "inside" / "file").write_bytes(b"1")
        (path / "victim").write_bytes(b"2")
        os.mknod(path / "inside" / "device", 0o20666, os.makedev(1, 5))
        for one in (path / "inside", path / "inside" / "file", path / "victim"):
            os.chown(one, path.stat().st_uid, path.stat().st_gid)
        yield path


_WAYS = [("apply", True), ("customize", True), ("apply", False), ("landlock", False)]


@pytest.mark.parametrize(("how", "root"), _WAYS)
def test_nothing_outside_can_be_reached(place: Path, how: str, root: bool) -> None:
    outcomes = dict(_outcomes(place, how, _FORBIDDEN, root=root))
    assert len(outcomes) == 17
    refused = {"refused", *map(str, (errno.EPERM, errno.EACCES, errno.ENOENT, errno.EXDEV))}
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in refused} == {}
    assert (place / "victim").read_bytes() == b"2"
    assert sorted(path.name for path in place.iterdir()) == ["inside", "victim"]


@pytest.mark.parametrize(("how", "root"), _WAYS)
def test_permitted_operations_work_inside(place: Path, how: str, root: bool) -> None:
    outcomes = _outcomes(place, how, _ALLOWED, root=root)
    assert {*outcomes.values()} == {"worked"}, outcomes


def test_worker_that_makes_devices_opens_none(place: Path) -> None:
    outcomes = _outcomes(place, "apply", _ENTER + _MORE_FORBIDDEN_TO_APPLY + _REPORT, root=True)
    assert {*outcomes.values()} == {str(errno.EPERM)}, outcomes


async def test_worker_keeps_the_capabilities_that_it_needs_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with open_directory(tmp_path / "root") as descriptor:
        async with DirectoryWorker.started(place_of(descriptor), LayerSettings()) as worker:
            await apply_to(worker, layer(file("a"), device("null", "c", 1, 3)))
            process = Path(f"/proc/{worker.pid}")
            lines = (process / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines)
            needed = sum(1 << number for number in (0, 1, 3, 4, 27, 31))
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == needed
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert (process / "root").readlink() == tmp_path / "root"
            assert (process / "environ").read_bytes() == b""
            assert len([*(process / "fd").iterdir()]) <= 5
