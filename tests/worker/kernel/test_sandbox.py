# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restrictions of the worker that opens the modules of the host, tried from inside."""

import ctypes
import errno
import sys
import tempfile
from pathlib import Path

from tests.support.not_tested import not_tested
from virtlayer import programs
from virtlayer.keeper.users import worker_identity

_INSIDE = """
import os, socket, sys
from virtlayer.worker.kernel.host_worker import enter
from virtlayer.worker.sandbox.enter import Limits

modules = os.open(sys.argv[1], os.O_RDONLY)
enter(Limits(memory=2**31, cpu_seconds=60), modules)
attempts = {
    "open a file to write": lambda: os.open("x", os.O_WRONLY, dir_fd=modules),
    "open a file to read and write": lambda: os.open("x", os.O_RDWR, dir_fd=modules),
    "empty a file": lambda: os.open("x", os.O_RDONLY | os.O_TRUNC, dir_fd=modules),
    "make a file": lambda: os.open("y", os.O_RDONLY | os.O_CREAT, dir_fd=modules),
    "remove a file": lambda: os.unlink("x", dir_fd=modules),
    "make a directory": lambda: os.mkdir("y", dir_fd=modules),
    "change permissions": lambda: os.chmod("x", 0o777),
    "make a socket": lambda: socket.socket(),
    "fork": os.fork,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "read another file": lambda: os.open("/etc/passwd", os.O_RDONLY),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, "worked", sep="\\t")
    except OSError as error:
        print(name, error.errno, sep="\\t")
print("read a module", os.read(os.open("x", os.O_RDONLY, dir_fd=modules), 10).decode(), sep="\\t")
print("list modules", *os.listdir(modules), sep="\\t")
"""
_LANDLOCK = 444
"""The number of landlock_create_ruleset(2), which with a version flag says what the kernel has."""


def _has_landlock() -> bool:
    version: int = ctypes.CDLL(None).syscall(_LANDLOCK, None, 0, 1)
    return version > 0


async def test_worker_opens_modules_only_to_read_them() -> None:
    with tempfile.TemporaryDirectory() as modules:
        # The worker is another user than root.
        Path(modules).chmod(0o755)
        (Path(modules) / "x").write_text("module")
        output = await programs.run(
            [sys.executable, "-I", "-c", _INSIDE, modules], identity=worker_identity()
        )
        assert [path.name for path in Path(modules).iterdir()] == ["x"]
    outcomes = dict(line.split("\t") for line in output.decode().splitlines())
    assert outcomes.pop("read a module") == "module"
    assert outcomes.pop("list modules") == "x"
    other = outcomes.pop("read another file")
    assert other == (str(errno.EACCES) if _has_landlock() else "worked")
    if not _has_landlock():
        not_tested("the worker for the host's kernel reads no other file: there is no Landlock")
    assert len(outcomes) == 10
    assert {
        name: outcome for name, outcome in outcomes.items() if outcome != str(errno.EPERM)
    } == {}
